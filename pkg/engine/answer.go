package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// maxAnswer caps what an engine may answer to a load, in bytes. A plain answer has a few hundred.
const maxAnswer = 4 << 20

var (
	absentFile    = regexp.MustCompile(`blobs/sha256/([0-9a-f]{64}): no such file or directory`)
	absentContent = regexp.MustCompile(`content digest (sha256:[0-9a-f]{64}): not found`)
	loadedID      = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	wrongDiffID   = regexp.MustCompile(`(?i)(invalid|wrong) diff ?id`)
)

// scan reads the answer to a load to its end: a stream of JSON objects behind a status of 200, whatever happened. It
// returns the ID of the image that was loaded last, empty when the engine told none.
func scan(status int, body io.Reader) (string, error) {
	body = io.LimitReader(body, maxAnswer)
	if status != 200 {
		return "", classify("load", refused(status, body))
	}
	var id, trouble string
	var loaded bool
	for dec := json.NewDecoder(body); ; {
		var line struct {
			Stream, Error string
			ErrorDetail   struct{ Message string }
		}
		err := dec.Decode(&line)
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", fmt.Errorf("%w: %w", errBroken, err)
		}
		switch said := line.ErrorDetail.Message + line.Error; {
		case said != "":
			return "", classify("load", firstOf(line.ErrorDetail.Message, line.Error))
		case strings.HasPrefix(line.Stream, "Error "): // "Error unpacking image …", with which docker load exits 0
			trouble = line.Stream
		case strings.HasPrefix(line.Stream, "Loaded image"):
			loaded, id = true, loadedID.FindString(line.Stream)
		}
	}
	if trouble != "" {
		return "", classify("load", trouble)
	}
	if !loaded {
		return "", manifest.Fail(manifest.KindEngine, "load", "the engine took the archive and loaded nothing of it")
	}
	return id, nil
}

// refused is the message of an answer that is no stream. Docker calls it message, podman cause and message.
func refused(status int, body io.Reader) string {
	raw, _ := io.ReadAll(body)
	var answer struct{ Message, Cause string }
	if json.Unmarshal(raw, &answer) == nil && answer.Message != "" {
		return answer.Message
	}
	return fmt.Sprintf("status %d: %.1000s", status, raw)
}

// classify makes the failure that an engine's words mean.
func classify(step, said string) error {
	said = strings.TrimSpace(manifest.Plain(reason(said)))
	switch {
	case strings.Contains(said, "no space left on device"), strings.Contains(said, "disk quota exceeded"):
		return manifest.Fail(manifest.KindSpace, step, "the engine has no room: %s", said).
			Advise("free some space in the engine's data folder; docker system df shows what could go")
	case absentFile.MatchString(said):
		return lacks(step, said, manifest.Digest("sha256:"+absentFile.FindStringSubmatch(said)[1]))
	case absentContent.MatchString(said):
		return lacks(step, said, manifest.Digest(absentContent.FindStringSubmatch(said)[1]))
	case strings.Contains(said, "doesn't provide the requested platform"):
		return lacks(step, said)
	case wrongDiffID.MatchString(said):
		return manifest.Fail(manifest.KindIntegrity, step, "the engine found a layer that is not what the image's configuration says: %s", said)
	}
	return manifest.Fail(manifest.KindEngine, step, "the engine says: %s", said)
}

// reason cuts podman's account down to the format that we sent: it tries four, and says of each why it was not that.
func reason(said string) string {
	if !strings.Contains(said, "does not match any of the supported image formats") {
		return said
	}
	for line := range strings.Lines(said) {
		if _, why, ok := strings.Cut(line, "* oci-archive: "); ok {
			return why
		}
	}
	return said
}

// lacks is the failure for an archive that left out what the engine has not; blobs are those that it named.
func lacks(step, said string, blobs ...manifest.Digest) error {
	f := manifest.Fail(manifest.KindStale, step, "the engine lacks a layer: %s", said)
	f.Absent = blobs
	return f
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func ctxEnded(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
