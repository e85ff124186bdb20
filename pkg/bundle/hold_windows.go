package bundle

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// hold takes no lock: a folder in which a file is open cannot be removed here.
func hold(*os.File) bool { return true }

func tooLarge(err error) bool { return errors.Is(err, windows.ERROR_FILE_TOO_LARGE) }
