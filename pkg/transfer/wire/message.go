package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// Type names what a Message says; the field of the same name holds its content.
type Type string

// What a client sends.
const (
	THello     Type = "hello"     // first on a control channel; answered by welcome
	TJoin      Type = "join"      // first on a data channel, then only put
	TInventory Type = "inventory" // answered by inventory
	TApply     Type = "apply"     // answered by events, then receipt
	TBlob      Type = "blob"      // the next blob of an image, its size known; not answered
	TEnd       Type = "end"       // no more blobs of an image; not answered
	TPut       Type = "put"       // a chunk or a pack, in the body; answered by ack
	TStatus    Type = "status"    // what was placed and whether it still is; answered by status
	TRollback  Type = "rollback"  // put back what a push replaced; answered by receipt
	TRemove    Type = "remove"    // take away what was placed; answered by receipt
	TAbort     Type = "abort"     // give the running apply up: the client cannot go on
	TSweep     Type = "sweep"     // answered by swept
	TPing      Type = "ping"      // answered by pong
)

// What an agent sends. A failure answers any request.
const (
	TWelcome Type = "welcome"
	TEvent   Type = "event"
	TCommit  Type = "commit" // from now on the apply goes on without the client
	TReceipt Type = "receipt"
	TAck     Type = "ack"
	TSwept   Type = "swept"
	TPong    Type = "pong"
	TFailure Type = "failure"
)

// Message is the header of a frame. ID numbers a request; its answers bear the same.
type Message struct {
	Type      Type                `json:"type"`
	ID        uint64              `json:"id,omitempty"`
	Hello     *Hello              `json:"hello,omitempty"`
	Welcome   *Welcome            `json:"welcome,omitempty"`
	Query     *manifest.Query     `json:"query,omitempty"`
	Inventory *manifest.Inventory `json:"inventory,omitempty"`
	Plan      *manifest.Plan      `json:"plan,omitempty"`
	Blob      *Blob               `json:"blob,omitempty"`
	Put       *Put                `json:"put,omitempty"`
	Event     *manifest.Event     `json:"event,omitempty"`
	Receipt   *manifest.Receipt   `json:"receipt,omitempty"`
	Selection *manifest.Selection `json:"selection,omitempty"`
	Status    *manifest.Status    `json:"status,omitempty"`
	Sweep     *Sweep              `json:"sweep,omitempty"`
	Swept     *manifest.Swept     `json:"swept,omitempty"`
	Failure   *Failure            `json:"failure,omitempty"`
}

// Hello introduces a client.
type Hello struct {
	Version    string `json:"version"`
	From       string `json:"from"`       // user@machine
	Session    string `json:"session"`    // 32 hexadecimal digits; a client that reconnects shows the same
	StateDir   string `json:"stateDir"`   // empty: the agent's own choice
	EngineHost string `json:"engineHost"` // empty: the agent's own search
	LockWait   int64  `json:"lockWait"`   // seconds to wait for a lock
	NoEngine   bool   `json:"noEngine"`   // only models are pushed
	AnyEngine  bool   `json:"anyEngine"`  // an engine is used if there is one
	Repository string `json:"repository"` // folder of models; empty: no models are pushed
	Digest     bool   `json:"digest"`     // say the digest of the agent's own binary
}

// Welcome introduces an agent.
type Welcome struct {
	Version  string            `json:"version"`
	Platform manifest.Platform `json:"platform"`
	Engine   manifest.Engine   `json:"engine"`
	Boot     string            `json:"boot,omitempty"` // names the running kernel, to tell whether both ends share its processors
	// Finished is the receipt of this session's apply when it ended after its client had gone.
	Finished *manifest.Receipt `json:"finished,omitempty"`
}

// Blob announces a blob of image number Image of the plan. Chunks may arrive before or after it, in any order.
type Blob struct {
	Image      int                 `json:"image"`
	Descriptor manifest.Descriptor `json:"descriptor"`
}

// Put is one chunk of the blob Digest, or a pack: small files of models, the Parts, one behind the other. The body holds
// it, encoded.
type Put struct {
	Digest manifest.Digest `json:"digest,omitempty"`
	Parts  []manifest.Part `json:"parts,omitempty"`
	Model  bool            `json:"model,omitempty"` // the blob is a file of a model
	Index  int             `json:"index"`
	Codec  string          `json:"codec"` // "raw" or "zstd"
	Raw    int64           `json:"raw"`   // bytes once decoded
	Sum    uint64          `json:"sum,string"`
}

// Sweep asks for staged blobs to be removed that no push holds and nobody touched for Age seconds.
type Sweep struct {
	Age int64 `json:"age"`
}

// Failure is a manifest.Failure on its way.
type Failure struct {
	Kind   manifest.Kind     `json:"kind"`
	Step   string            `json:"step"`
	Text   string            `json:"text"`
	Hint   string            `json:"hint"`
	Absent []manifest.Digest `json:"absent,omitempty"` // as of manifest.Failure
}

// Pack makes a Failure of err.
func Pack(err error) *Failure {
	f := &Failure{Kind: manifest.KindOf(err), Text: err.Error()}
	var m *manifest.Failure
	if errors.As(err, &m) {
		f.Step, f.Hint, f.Text, f.Absent = m.Step, m.Hint, m.Err.Error(), m.Absent
	}
	return f
}

// Unpack makes an error of what a host said; its text is made safe to print.
func (f *Failure) Unpack() error {
	return &manifest.Failure{
		Kind: f.Kind, Step: manifest.Plain(f.Step), Hint: manifest.Plain(f.Hint),
		Err: errors.New(manifest.Plain(f.Text)), Absent: f.Absent,
	}
}

// Greeting is the line with which an agent begins, so that what a login script prints before it can be told apart.
func Greeting() string { return fmt.Sprintf("clara-push-agent %d\n", Protocol) }

// maxChatter is how many bytes of a login script's output are read before the greeting is given up.
const maxChatter = 64 << 10

// AwaitGreeting reads up to and including an agent's greeting. It returns what stood before it, and the error of r when
// the greeting does not come.
func AwaitGreeting(r *bufio.Reader) (chatter string, err error) {
	var seen, line []byte
	for len(seen) < maxChatter {
		part, err := r.ReadSlice('\n')
		seen, line = append(seen, part...), append(line, part...)
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			return string(seen), err
		}
		if bytes.HasSuffix(line, []byte(Greeting())) {
			return string(seen[:len(seen)-len(line)]), nil
		}
		line = line[:0]
	}
	return string(seen), io.ErrShortBuffer
}
