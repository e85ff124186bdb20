package triton

import "math"

// variable is a dimension whose size the model leaves open.
const variable = -1

// checkTensors looks at the inputs and outputs.
func (c *checker) checkTensors() {
	inputs, outputs := c.config.all("input"), c.config.all("output")
	if len(inputs) == 0 || len(outputs) == 0 {
		c.checkUnnamed(len(inputs) == 0, len(outputs) == 0)
	}
	for _, f := range inputs {
		c.checkTensor(f, "input")
	}
	for _, f := range outputs {
		c.checkTensor(f, "output")
	}
}

// checkUnnamed is for a configuration that leaves out all inputs or all outputs.
func (c *checker) checkUnnamed(inputs, outputs bool) {
	what := "outputs"
	switch {
	case inputs && outputs:
		what = "inputs and outputs"
	case inputs:
		what = "inputs"
	}
	switch {
	case c.backend == backend{}, c.backend.platform == platformEnsemble: // the flow of data tells about those
	case c.backend.derives == derivesNone:
		c.refuse(RuleIO, c.in(nil), "the configuration names no %s, and Triton cannot derive them from this kind of model", what).
			advise("write them with name, data_type and dims")
	case c.Version.strict():
		c.note(c.severityOfStrict(), RuleIO, c.in(nil), "the configuration names no %s, and Triton %s derives them only when it is started with --strict-model-config=false", []any{what, c.Version}).
			advise("write them with name, data_type and dims")
	case c.backend.name == backendPython && !c.completesItself():
		c.warn(RuleIO, c.in(nil), "the configuration names no %s, and model.py has no auto_complete_config that would", what).
			advise("write them with name, data_type and dims")
	}
}

// checkTensor looks at one input or output.
func (c *checker) checkTensor(f *field, kind string) {
	c.checkComplete(f, kind)
	c.checkDims(f, kind)
	c.checkReshape(f, kind)
	c.checkTensorFormat(f, kind)
}

// checkComplete looks for what every input and output must say, unless the server derives it.
func (c *checker) checkComplete(f *field, kind string) {
	if f.str("name") == "" {
		c.refuse(RuleIO, c.in(f), "this %s has no name", kind).advise("write its name as the model has it")
		return
	}
	if c.backend.derives == derivesAll && !c.Version.strict() {
		return
	}
	if t := f.word("data_type"); t == "" || t == "TYPE_INVALID" {
		c.refuse(RuleIO, c.in(f), "%s %q has no data_type", kind, f.str("name")).advise("write it, as in data_type: TYPE_FP32")
	}
	if len(f.all("dims")) == 0 {
		c.refuse(RuleIO, c.in(f), "%s %q has no dims", kind, f.str("name")).
			advise("write them without the batch dimension when max_batch_size is above 0, as in dims: [ 3, 224, 224 ]")
	}
}

func (c *checker) checkDims(f *field, kind string) {
	for _, d := range f.all("dims") {
		if c.full() {
			return
		}
		if d.int() < 1 && d.int() != variable {
			c.refuse(RuleDims, c.in(d), "%s %q cannot have a dimension of %d", kind, f.str("name"), d.int()).
				advise("write a number above 0, or -1 for a dimension that may vary")
		}
	}
}

// checkReshape looks whether a reshape has as many elements as the dimensions.
func (c *checker) checkReshape(f *field, kind string) {
	reshape := f.get("reshape")
	if reshape == nil {
		return
	}
	dims, shape := integers(f.all("dims")), integers(reshape.all("shape"))
	for _, s := range reshape.all("shape") {
		if s.int() < 1 && s.int() != variable {
			c.refuse(RuleDims, c.in(s), "%s %q cannot be reshaped to a dimension of %d", kind, f.str("name"), s.int()).
				advise("write a number above 0, or -1 for a dimension that may vary")
			return
		}
	}
	switch {
	case len(shape) == 0 && c.largest == 0:
		c.refuse(RuleDims, c.in(reshape), "%s %q cannot be reshaped to nothing, because the model does not batch", kind, f.str("name")).
			advise("write a shape, or a max_batch_size above 0")
	case len(dims) > 0 && !sameSize(dims, shape):
		c.refuse(RuleDims, c.in(reshape), "%s %q has dims %v and reshape %v, which hold different numbers of elements", kind, f.str("name"), dims, shape).
			advise("correct the one or the other")
	}
}

// sameSize reports whether two shapes hold equally many elements: between dimensions that vary, piece by piece. A shape
// without dimensions holds one.
func sameSize(a, b []int64) bool {
	p, q := pieces(a), pieces(b)
	if len(p) != len(q) {
		return false
	}
	for n := range p {
		if p[n] != q[n] {
			return false
		}
	}
	return true
}

// pieces multiplies the dimensions between those that vary.
func pieces(shape []int64) []float64 {
	all, product := []float64{}, 1.0
	for _, d := range shape {
		if d == variable {
			all, product = append(all, product), 1
			continue
		}
		product = math.Min(product*float64(d), math.MaxFloat64)
	}
	return append(all, product)
}

// checkTensorFormat looks at what only some tensors may be.
func (c *checker) checkTensorFormat(f *field, kind string) {
	name, dims := f.str("name"), len(f.all("dims"))
	rt := c.backend.name == backendTensorRT || c.backend == backend{}
	switch format := f.get("format"); {
	case format == nil || format.text == "FORMAT_NONE":
	case dims > 0 && dims != 3:
		c.refuse(RuleFormat, c.in(format), "%s %q is %s and has %d dims, but an image has 3", kind, name, format.text, dims).
			advise("write three dims, without the batch dimension")
	}
	if shape := f.get("is_shape_tensor"); shape != nil && f.truth("is_shape_tensor") && !rt {
		c.refuse(RuleFormat, c.in(shape), "%s %q is a shape tensor, which only TensorRT has", kind, name).advise("remove is_shape_tensor")
	}
	linear := f.get("is_non_linear_format_io")
	switch {
	case linear == nil || !f.truth("is_non_linear_format_io"):
	case !rt:
		c.refuse(RuleFormat, c.in(linear), "%s %q is not linear, which only TensorRT has", kind, name).advise("remove is_non_linear_format_io")
	case dims > 0 && dims != 3:
		c.refuse(RuleFormat, c.in(linear), "%s %q is not linear, which takes 3 dims, and has %d", kind, name, dims).advise("write three dims, without the batch dimension")
	}
}

// integers are the values of fields.
func integers(fields []*field) []int64 {
	n := make([]int64, 0, len(fields))
	for _, f := range fields {
		n = append(n, f.int())
	}
	return n
}
