//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/clara-push/clara-push/pkg/manifest"
)

// model is what Clara's liver segmentation is called. The real one is not free to be had, so one of its shape is made here.
const model = "segmentation_liver_v1"

const (
	layers     = 8
	layerBytes = 4 << 20
)

// modelConfig says what the real model takes and gives.
const modelConfig = `name: "segmentation_liver_v1"
platform: "tensorflow_graphdef"
max_batch_size: 1
input [ { name: "cond/Merge" data_type: TYPE_FP32 dims: [ 1, 96, 96, 96 ] } ]
output [ { name: "NV_OUTPUT_LABEL" data_type: TYPE_FP32 dims: [ 3, 96, 96, 96 ] } ]
`

func (s *stage) modelFirst(ctx context.Context) error {
	s.say("6. The models. %s has a graph of %s of weights. It is checked by Triton's rules, then all of it travels;\n"+
		"   it appears in the host's repository in one step.", model, manifest.FormatBytes(layers*layerBytes))
	if err := s.writeConfigOf(""); err != nil {
		return err
	}
	if err := s.writeGraph(1); err != nil {
		return err
	}
	return s.pushModel(ctx)
}

func (s *stage) modelConfig(ctx context.Context) error {
	s.say("7. Change config.pbtxt: two instances of the model. Only that file travels, and only that file is placed.")
	if err := s.writeConfigOf("instance_group [ { count: 2 } ]\n"); err != nil {
		return err
	}
	return s.pushModel(ctx)
}

func (s *stage) modelVersion(ctx context.Context) error {
	s.say("8. Train again: a version 2 beside version 1. Its graph travels, version 1 is not touched. The folder of the new version\n" +
		"   appears in one step.")
	if err := s.writeGraph(2); err != nil {
		return err
	}
	return s.pushModel(ctx)
}

func (s *stage) modelBack(ctx context.Context) error {
	s.say("9. Version 2 is no good: take it back. Nothing of the model travels.")
	if err := s.counted(ctx, s.modelSize, "model", "rollback", host, "--model", model); err != nil {
		return err
	}
	return s.show(ctx, "find "+s.repository()+"/"+model)
}

func (s *stage) pushModel(ctx context.Context) error {
	return s.counted(ctx, s.modelSize, "model", "model", filepath.Join("models", model), host)
}

func (s *stage) repository() string { return filepath.Join(s.dir, "clara", "common", "models") }

func (s *stage) modelFile(path ...string) string {
	return filepath.Join(append([]string{s.dir, "models", model}, path...)...)
}

func (s *stage) writeConfigOf(more string) error {
	if err := os.MkdirAll(s.modelFile(), 0o755); err != nil {
		return err
	}
	return os.WriteFile(s.modelFile("config.pbtxt"), []byte(modelConfig+more), 0o644)
}

// writeGraph makes a version of the model: a graph in TensorFlow's format whose weights depend on the version.
func (s *stage) writeGraph(version int) error {
	dir := s.modelFile(fmt.Sprint(version))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(uint64(version), 0))
	graph := node(nil, "cond/Merge", "Placeholder", 0, nil)
	last := "cond/Merge"
	for n := range layers {
		name := fmt.Sprintf("conv%d", n)
		graph = node(graph, name+"/kernel", "Const", layerBytes/4, random)
		graph = node(graph, name, "Conv3D", 0, nil, last, name+"/kernel")
		last = name
	}
	graph = node(graph, "NV_OUTPUT_LABEL", "Softmax", 0, nil, last)
	s.modelSize += int64(len(graph))
	return os.WriteFile(filepath.Join(dir, "model.graphdef"), graph, 0o644)
}

// node appends a node to a GraphDef: field 1, in which 1 is the name, 2 the operation, 3 an input and 5 an attribute; of a constant its
// weights.
func node(graph []byte, name, op string, weights int, random *rand.Rand, inputs ...string) []byte {
	n := text(text(nil, 1, name), 2, op)
	for _, in := range inputs {
		n = text(n, 3, in)
	}
	if weights > 0 {
		n = raw(n, 5, raw(text(nil, 1, "value"), 2, raw(nil, 8, tensor(weights, random))))
	}
	return raw(graph, 1, n)
}

// tensor is a TensorProto of so many weights: 1 is the type, 2 the shape, 4 the content.
func tensor(weights int, random *rand.Rand) []byte {
	size := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(weights))
	t := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1)
	t = raw(t, 2, raw(nil, 2, size))
	content := make([]byte, 0, 4*weights)
	for range weights {
		content = binary.LittleEndian.AppendUint32(content, math.Float32bits(float32(0.05*random.NormFloat64())))
	}
	return raw(t, 4, content)
}

func text(to []byte, field protowire.Number, s string) []byte { return raw(to, field, []byte(s)) }

func raw(to []byte, field protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), b)
}
