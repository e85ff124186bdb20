package triton

import (
	"slices"
	"strconv"
)

// checkInstances looks at where and how often the model shall run.
func (c *checker) checkInstances() {
	for _, g := range c.config.all("instance_group") {
		kind := g.word("kind")
		if gpus := g.get("gpus"); gpus != nil && (kind == "KIND_CPU" || kind == "KIND_MODEL") {
			c.refuse(RuleInstances, c.in(gpus), "a group of kind %s cannot name gpus", kind).advise("remove gpus, or write kind: KIND_GPU")
		}
		for _, p := range g.all("profile") {
			switch n, err := strconv.Atoi(p.string()); {
			case c.backend.name != backendTensorRT && c.backend != (backend{}):
				c.refuse(RuleInstances, c.in(p), "only TensorRT has profiles").advise("remove profile")
			case err != nil || n < 0:
				c.refuse(RuleInstances, c.in(p), "a profile is a number from 0 on, in quotation marks, not %q", p.string()).advise(`write it as in profile: "0"`)
			}
		}
	}
}

// checkCache looks for what does not go together with the response cache.
func (c *checker) checkCache() {
	cache := c.config.get("response_cache")
	if !cache.truth("enable") {
		return
	}
	if c.config.has("sequence_batching") {
		c.refuse(RuleCache, c.in(cache), "the response cache does not work with sequence_batching").advise("remove response_cache")
	}
	if c.config.get("model_transaction_policy").truth("decoupled") {
		c.refuse(RuleCache, c.in(cache), "the response cache does not work with a decoupled model").advise("remove response_cache")
	}
}

// checkMetrics looks at the histograms that a model asks for.
func (c *checker) checkMetrics() {
	for _, m := range c.config.get("model_metrics").all("metric_control") {
		if m.str("metric_identifier.family") == "" {
			c.refuse(RuleMetrics, c.in(m), "this does not say which metric it is for").advise(`write metric_identifier { family: "…" }`)
		}
		if !m.has("histogram_options.buckets") {
			c.refuse(RuleMetrics, c.in(m), "this has no buckets").advise("write histogram_options { buckets: [ … ] }")
		}
	}
}

// booleanControls tell a model where a sequence begins, ends, and whether it has a request.
var booleanControls = []string{"CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_READY", "CONTROL_SEQUENCE_END"}

// correlationTypes are the types that the number of a sequence can have.
var correlationTypes = []string{"TYPE_UINT64", "TYPE_INT64", "TYPE_UINT32", "TYPE_INT32", "TYPE_STRING"}

// checkSequence looks at how sequences of requests are run.
func (c *checker) checkSequence() {
	batching := c.config.get("sequence_batching")
	inputs, kinds := map[string]bool{}, map[string]bool{}
	for _, input := range batching.all("control_input") {
		switch name := input.str("name"); {
		case name == "":
			c.refuse(RuleSequence, c.in(input), "this control input has no name").advise("write the name of the tensor")
		case inputs[name]:
			c.refuse(RuleSequence, c.in(input), "control input %q is given twice", name).advise("put both controls into one control_input")
		}
		inputs[input.str("name")] = true
		for _, control := range input.all("control") {
			c.checkControl(control, kinds)
		}
	}
	c.checkStrategy(batching)
}

// checkControl looks at one control; kinds are those that were given before.
func (c *checker) checkControl(control *field, kinds map[string]bool) {
	kind := control.word("kind")
	if kind == "" {
		kind = booleanControls[0]
	}
	if kinds[kind] {
		c.refuse(RuleSequence, c.in(control), "%s is given twice", kind).advise("remove one of the two")
	}
	kinds[kind] = true
	given, values := 0, 0
	for _, name := range []string{"int32_false_true", "fp32_false_true", "bool_false_true"} {
		if n := len(control.all(name)); n > 0 {
			given, values = given+1, n
		}
	}
	switch {
	case !slices.Contains(booleanControls, kind):
		if t := control.word("data_type"); !slices.Contains(correlationTypes, t) {
			c.refuse(RuleSequence, c.in(control), "%s needs a data_type that holds the number of a sequence", kind).advise("write data_type: TYPE_UINT64")
		}
		if given > 0 {
			c.refuse(RuleSequence, c.in(control), "%s has no values for false and true", kind).advise("remove them")
		}
	case given != 1:
		c.refuse(RuleSequence, c.in(control), "%s needs one of int32_false_true, fp32_false_true and bool_false_true, and has %d", kind, given).
			advise("write it as in int32_false_true: [ 0, 1 ]")
	case values != 2:
		c.refuse(RuleSequence, c.in(control), "%s needs two values, for false and for true, and has %d", kind, values).advise("write it as in int32_false_true: [ 0, 1 ]")
	}
}

func (c *checker) checkStrategy(batching *field) {
	if oldest := batching.get("oldest"); oldest != nil {
		c.checkPreferred(oldest)
	}
	used := batching.get("direct.minimum_slot_utilization")
	if used == nil {
		return
	}
	if share, ok := used.value.Interface().(float32); ok && (share < 0 || share > 1) {
		c.refuse(RuleSequence, c.in(used), "minimum_slot_utilization is %g and must be from 0 to 1", share).advise("write a share, as in 0.5")
	}
}
