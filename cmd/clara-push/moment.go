package main

import (
	"time"

	"github.com/clara-push/clara-push/pkg/bundle/signature"
)

// moment is a flag's value that is a time, written as ssh-keygen takes it; the zero value is no time.
type moment time.Time

// Set reads YYYYMMDD[HHMM[SS]][Z], or a time of RFC 3339 as receipts have it.
func (m *moment) Set(s string) error {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t, err = signature.ParseTime(s)
	}
	if err != nil {
		return err
	}
	*m = moment(t)
	return nil
}

func (m *moment) String() string {
	if time.Time(*m).IsZero() {
		return ""
	}
	return time.Time(*m).Format(time.RFC3339)
}

// Type is the word for the value in the help.
func (m *moment) Type() string { return "time" }
