package triton

// steps are the steps of an ensemble, in order.
func (c *checker) steps() []*field { return c.config.get("ensemble_scheduling").all("step") }

// checkEnsemble looks at what an ensemble must and must not say; a model that is none passes.
func (c *checker) checkEnsemble() {
	scheduling := c.config.get("ensemble_scheduling")
	platform := c.config.get("platform")
	switch isEnsemble := platform.string() == platformEnsemble; {
	case !isEnsemble && scheduling == nil:
		return
	case !isEnsemble:
		c.refuse(RuleEnsemble, c.in(scheduling), "ensemble_scheduling is for ensembles, and the platform is another").advise(`write platform: "ensemble"`)
		return
	case scheduling == nil:
		c.refuse(RuleEnsemble, c.in(platform), "an ensemble must say what its steps are").advise("write ensemble_scheduling { step [ … ] }")
		return
	}
	for _, name := range []string{"backend", "instance_group", "optimization", "model_warmup"} {
		if f := c.config.get(name); f != nil && (name != "backend" || f.string() != "") {
			c.refuse(RuleEnsemble, c.in(f), "an ensemble must not have %s: its steps have their own", name).advise("remove it")
		}
	}
	if len(c.steps()) == 0 {
		c.refuse(RuleEnsemble, c.in(scheduling), "an ensemble must have a step").advise("write ensemble_scheduling { step [ … ] }")
		return
	}
	if c.checkSteps() {
		c.checkFlow()
	}
}

// checkSteps looks whether every step is complete.
func (c *checker) checkSteps() bool {
	before := len(c.found)
	for _, s := range c.steps() {
		for _, name := range []string{"model_name", "input_map", "output_map"} {
			if f := s.get(name); f == nil || (name == "model_name" && f.string() == "") {
				c.refuse(RuleEnsemble, c.in(s), "this step has no %s", name).advise("write it")
			}
		}
		if s.str("model_name") == c.name {
			c.refuse(RuleStep, c.in(s.get("model_name")), "the ensemble names itself as a step").advise("name the model that this step runs")
		}
	}
	return len(c.found) == before
}
