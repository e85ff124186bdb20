package transfer

import (
	"context"
	"io"

	"golang.org/x/time/rate"
)

// limiter holds all channels together below one rate. A nil limiter does not limit.
type limiter struct{ bucket *rate.Limiter }

// limitStep is how many bytes pass at once; small against a second's worth, so that the rate is even.
const limitStep = 16 << 10

func newLimiter(bytesPerSecond int64) *limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	return &limiter{rate.NewLimiter(rate.Limit(bytesPerSecond), limitStep)}
}

func (l *limiter) wrap(w io.Writer) io.Writer {
	if l == nil {
		return w
	}
	return limitedWriter{w, l.bucket}
}

type limitedWriter struct {
	w      io.Writer
	bucket *rate.Limiter
}

// Write implements io.Writer. It is not cancelled by a context: closing the channel ends it.
func (l limitedWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		step := min(limitStep, len(p)-done)
		if err := l.bucket.WaitN(context.Background(), step); err != nil {
			return done, err
		}
		n, err := l.w.Write(p[done : done+step])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
