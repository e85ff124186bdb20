package triton

// checkBatching looks at the sizes of batches and at how they are put together.
func (c *checker) checkBatching() {
	size := c.config.get("max_batch_size")
	if size.int() < 0 {
		c.refuse(RuleBatch, c.in(size), "max_batch_size is %d and must not be negative", size.int()).advise("write 0 for a model that does not batch")
		return
	}
	c.checkWarmup()
	batching := c.config.get("dynamic_batching")
	if batching == nil {
		return
	}
	if size.int() == 0 {
		c.warn(RuleBatch, c.in(batching), "dynamic_batching does nothing, because max_batch_size is 0").advise("write a max_batch_size above 0 if the model can batch, or remove dynamic_batching")
	}
	c.checkPreferred(batching)
	c.checkPriorities(batching)
	c.checkOrdering(batching)
}

// checkPreferred looks at the sizes that a batcher shall prefer.
func (c *checker) checkPreferred(batching *field) {
	for _, f := range batching.all("preferred_batch_size") {
		switch {
		case f.int() <= 0:
			c.refuse(RuleBatch, c.in(f), "a preferred batch size of %d makes no sense", f.int()).advise("write numbers from 1 to max_batch_size")
		case f.int() > c.largest && c.largest > 0:
			c.refuse(RuleBatch, c.in(f), "the preferred batch size %d is above max_batch_size, which is %d", f.int(), c.largest).advise("lower the one, or raise the other")
		case f.int() > c.largest:
			c.refuse(RuleBatch, c.in(f), "a preferred batch size needs a max_batch_size, which is 0").advise("write max_batch_size: %d, or remove it", f.int())
		}
	}
}

func (c *checker) checkPriorities(batching *field) {
	levels := batching.num("priority_levels")
	if levels == 0 {
		return
	}
	if d := batching.num("default_priority_level"); d == 0 || d > levels {
		at := batching.get("default_priority_level")
		if at == nil {
			at = batching.get("priority_levels")
		}
		c.refuse(RuleBatch, c.in(at), "with %d priority levels, default_priority_level must be from 1 to %d", levels, levels).advise("write default_priority_level: %d", levels)
	}
	for _, p := range batching.all("priority_queue_policy") {
		if key := p.num("key"); key == 0 || key > levels {
			c.refuse(RuleBatch, c.in(p), "this policy is for priority level %d, and there are levels 1 to %d", key, levels).advise("correct its key")
		}
	}
}

// checkOrdering looks for what would break the order of answers that preserve_ordering promises.
func (c *checker) checkOrdering(batching *field) {
	if !batching.truth("preserve_ordering") {
		return
	}
	if levels := batching.get("priority_levels"); levels.int() > 1 {
		c.refuse(RuleBatch, c.in(levels), "preserve_ordering allows one priority level only").advise("remove the one or the other")
	}
	policies := batching.all("default_queue_policy")
	for _, p := range batching.all("priority_queue_policy") {
		policies = append(policies, p.get("value"))
	}
	for _, p := range policies {
		if p.num("default_timeout_microseconds") != 0 && p.word("timeout_action") == "DELAY" {
			c.refuse(RuleBatch, c.in(p.get("timeout_action")), "preserve_ordering allows no request to be delayed").advise("write timeout_action: REJECT, or remove preserve_ordering")
		}
	}
}

// checkWarmup looks at the requests that a model is tried with.
func (c *checker) checkWarmup() {
	largest := max(c.largest, 1)
	for _, w := range c.config.all("model_warmup") {
		size := w.get("batch_size")
		at := size
		if at == nil {
			at = w
		}
		switch {
		case size.int() < 1:
			c.refuse(RuleBatch, c.in(at), "a request for warm-up needs a batch_size of at least 1").advise("write batch_size: 1")
		case size.int() > largest:
			c.refuse(RuleBatch, c.in(at), "the batch_size of this request for warm-up is above what the model takes, %d", largest).advise("write batch_size: %d", largest)
		}
	}
}

// checkBatchTensors looks at batch_input and batch_output.
func (c *checker) checkBatchTensors() {
	inputs, outputs := c.tensorNames("input"), c.tensorNames("output")
	for _, b := range c.config.all("batch_input") {
		c.checkSource(b, inputs)
		if t := b.word("data_type"); t != "TYPE_INT32" && t != "TYPE_FP32" {
			c.refuse(RuleBatchIO, c.in(b), "the data_type of a batch_input must be TYPE_INT32 or TYPE_FP32").advise("write one of the two")
		}
	}
	for _, b := range c.config.all("batch_output") {
		c.checkSource(b, inputs)
		seen := map[string]bool{}
		for _, t := range b.all("target_name") {
			switch name := t.string(); {
			case !outputs[name]:
				c.refuse(RuleBatchIO, c.in(t), "there is no output %q", name).advise("write the name of an output")
			case seen[name]:
				c.refuse(RuleBatchIO, c.in(t), "output %q is named twice", name).advise("remove one of the two")
			}
			seen[t.string()] = true
		}
	}
}

func (c *checker) checkSource(b *field, inputs map[string]bool) {
	sources := b.all("source_input")
	if len(sources) != 1 {
		c.refuse(RuleBatchIO, c.in(b), "this needs one source_input, and has %d", len(sources)).advise("write the name of one input")
	}
	for _, s := range sources {
		if !inputs[s.string()] {
			c.refuse(RuleBatchIO, c.in(s), "there is no input %q", s.string()).advise("write the name of an input")
		}
	}
}

// tensorNames are the names of all inputs or outputs.
func (c *checker) tensorNames(kind string) map[string]bool {
	names := map[string]bool{}
	for _, f := range c.config.all(kind) {
		names[f.str("name")] = true
	}
	return names
}
