package manifest

// Step names a stage of a push, in the order in which a user meets them.
type Step string

// The steps.
const (
	StepConnect   Step = "connect"
	StepAgent     Step = "agent"
	StepInventory Step = "inventory"
	StepPlan      Step = "plan"
	StepWait      Step = "wait"     // for a lock
	StepSpool     Step = "spool"    // keep a bundle that comes as a stream
	StepCompress  Step = "compress" // layers, for a bundle
	StepWrite     Step = "write"    // a bundle
	StepVerify    Step = "verify"   // a bundle
	StepSend      Step = "send"
	StepLoad      Step = "load"
	StepProve     Step = "prove"
	StepTag       Step = "tag"
	StepPlace     Step = "place"
	StepServe     Step = "serve" // have a running server take a model
	StepRetry     Step = "retry"
	StepWarning   Step = "warning"
)

// Event is something that happened during a push, for whoever watches. Text is for people; numbers are in bytes.
type Event struct {
	Step Step   `json:"step"`
	Ref  string `json:"ref,omitempty"` // the image it is about
	Text string `json:"text,omitempty"`

	// StepSend: raw bytes of blobs delivered so far in this push, how many there will be, bytes on the wire so far. Other
	// steps that take long: bytes done so far, and how many there will be.
	Done  int64 `json:"done,omitempty"`
	Total int64 `json:"total,omitempty"`
	Wire  int64 `json:"wire,omitempty"`
}

// Events receives events, from several goroutines. It must not block for long.
type Events func(Event)

// Say sends an event with a text; a nil Events is silent.
func (e Events) Say(s Step, ref, text string) {
	if e != nil {
		e(Event{Step: s, Ref: ref, Text: text})
	}
}

// Sent sends how far the sending has come; a nil Events is silent.
func (e Events) Sent(done, total, wire int64) {
	if e != nil {
		e(Event{Step: StepSend, Done: done, Total: total, Wire: wire})
	}
}

// Progress sends how far a step has come, in bytes; a nil Events is silent.
func (e Events) Progress(s Step, done, total int64) {
	if e != nil {
		e(Event{Step: s, Done: done, Total: total})
	}
}
