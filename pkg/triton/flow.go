package triton

// tensor is a tensor that flows through an ensemble.
type tensor struct {
	name   string
	at     *field // where it is written, or else where it is first read
	output bool   // a step writes it
	used   bool   // a step reads it, or the ensemble gives it
	ready  bool   // its value is known when the steps run
	reads  []*run // the steps that wait for it
}

// run is a step of an ensemble, with what it still waits for.
type run struct {
	waits  int
	writes []*tensor
}

// flow are the tensors of an ensemble and how they come from each other.
type flow struct {
	tensors map[string]*tensor
	order   []*tensor // as the steps name them
	next    []*tensor // ready, and not yet passed on
}

// get returns the tensor called name, and makes it when it is new.
func (w *flow) get(name string, at *field) *tensor {
	t := w.tensors[name]
	if t == nil {
		t = &tensor{name: name, at: at}
		w.tensors[name], w.order = t, append(w.order, t)
	}
	return t
}

// give makes a tensor ready.
func (w *flow) give(t *tensor) {
	if !t.ready {
		t.ready, w.next = true, append(w.next, t)
	}
}

// pass runs every step whose inputs are ready, until none is left.
func (w *flow) pass() {
	for len(w.next) > 0 {
		t := w.next[0]
		w.next = w.next[1:]
		for _, r := range t.reads {
			if r.waits--; r.waits > 0 {
				continue
			}
			for _, out := range r.writes {
				w.give(out)
			}
		}
	}
}

// checkFlow follows the data from the inputs of the ensemble through its steps to its outputs.
func (c *checker) checkFlow() {
	w := &flow{tensors: map[string]*tensor{}}
	for _, s := range c.steps() {
		c.addStep(w, s)
	}
	for _, f := range c.config.all("input") {
		t := w.tensors[f.str("name")]
		if t == nil {
			c.refuse(RuleFlow, c.in(f), "no step uses the ensemble's input %q", f.str("name")).advise("map it to the input of a step, or remove it")
			continue
		}
		w.give(t)
	}
	w.pass()
	for _, f := range c.config.all("output") {
		t := w.tensors[f.str("name")]
		if t == nil {
			c.refuse(RuleFlow, c.in(f), "no step writes the ensemble's output %q", f.str("name")).advise("map the output of a step to it, or remove it")
			continue
		}
		t.used = true
	}
	c.checkEnds(w)
}

// addStep adds what a step reads and writes.
func (c *checker) addStep(w *flow, s *field) {
	r := &run{}
	_, ins := s.pairs("input_map")
	for _, f := range ins {
		t := w.get(f.string(), f)
		t.used, t.reads, r.waits = true, append(t.reads, r), r.waits+1
	}
	_, outs := s.pairs("output_map")
	for _, f := range outs {
		t := w.get(f.string(), f)
		if t.output {
			c.refuse(RuleFlow, c.in(f), "tensor %q is written by two steps", t.name).advise("give each its own name")
		}
		t.output, t.at = true, f
		r.writes = append(r.writes, t)
	}
}

// checkEnds looks for tensors that come from nowhere or lead nowhere.
func (c *checker) checkEnds(w *flow) {
	var stuck *tensor
	found := false
	for _, t := range w.order {
		switch {
		case !t.ready && !t.output:
			found = true
			c.refuse(RuleFlow, c.in(t.at), "tensor %q is needed here, and nothing gives it", t.name).
				advise("let a step write it, or make it an input of the ensemble")
		case !t.ready && stuck == nil:
			stuck = t
		}
		if t.output && !t.used {
			c.refuse(RuleFlow, c.in(t.at), "tensor %q is written, and nothing uses it", t.name).
				advise("make it an output of the ensemble, or take it out of the output_map")
		}
	}
	if stuck != nil && !found {
		c.refuse(RuleFlow, c.in(stuck.at), "the steps wait for each other in a circle: tensor %q never gets a value", stuck.name).
			advise("let one of the steps begin with inputs of the ensemble")
	}
}
