package triton

import (
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// configDescriptor is ModelConfig of fields.txt as protobuf wants it. Only names and types are true to Triton's own: the
// text format knows no field numbers, and an entry of a map reads like a message.
var configDescriptor = sync.OnceValue(func() protoreflect.MessageDescriptor {
	d, err := configSchema().describe()
	if err != nil {
		panic("triton: fields.txt: " + err.Error()) // TestFieldTable would have noticed
	}
	return d.Messages().ByName("ModelConfig")
})

const protoPackage = "triton"

var scalarTypes = map[string]descriptorpb.FieldDescriptorProto_Type{
	"bool":   descriptorpb.FieldDescriptorProto_TYPE_BOOL,
	"double": descriptorpb.FieldDescriptorProto_TYPE_DOUBLE,
	"float":  descriptorpb.FieldDescriptorProto_TYPE_FLOAT,
	"int32":  descriptorpb.FieldDescriptorProto_TYPE_INT32,
	"int64":  descriptorpb.FieldDescriptorProto_TYPE_INT64,
	"string": descriptorpb.FieldDescriptorProto_TYPE_STRING,
	"uint32": descriptorpb.FieldDescriptorProto_TYPE_UINT32,
	"uint64": descriptorpb.FieldDescriptorProto_TYPE_UINT64,
}

func (s *schema) describe() (protoreflect.FileDescriptor, error) {
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("fields.txt"), Package: proto.String(protoPackage), Syntax: proto.String("proto3"),
	}
	for _, name := range s.order {
		if m := s.messages[name]; m != nil {
			file.MessageType = append(file.MessageType, s.describeMessage(m))
		} else {
			file.EnumType = append(file.EnumType, describeEnum(s.enums[name]))
		}
	}
	return protodesc.NewFile(file, nil)
}

func (s *schema) describeMessage(m *message) *descriptorpb.DescriptorProto {
	d := &descriptorpb.DescriptorProto{Name: &m.name}
	groups := map[string]int32{}
	for n, f := range m.fields {
		fd := &descriptorpb.FieldDescriptorProto{
			Name: &f.name, Number: proto.Int32(int32(n) + 1),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: s.protoType(f.typ).Enum(),
		}
		if _, scalar := scalarTypes[f.typ]; !scalar {
			fd.TypeName = proto.String("." + protoPackage + "." + f.typ)
		}
		if f.many {
			fd.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}
		if f.group != "" {
			if _, known := groups[f.group]; !known {
				groups[f.group] = int32(len(d.OneofDecl))
				d.OneofDecl = append(d.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: &f.group})
			}
			fd.OneofIndex = proto.Int32(groups[f.group])
		}
		d.Field = append(d.Field, fd)
	}
	return d
}

func (s *schema) protoType(name string) descriptorpb.FieldDescriptorProto_Type {
	if t, ok := scalarTypes[name]; ok {
		return t
	}
	if s.enums[name] != nil {
		return descriptorpb.FieldDescriptorProto_TYPE_ENUM
	}
	return descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
}

func describeEnum(e *enum) *descriptorpb.EnumDescriptorProto {
	d := &descriptorpb.EnumDescriptorProto{Name: &e.name}
	for n, v := range e.values {
		d.Value = append(d.Value, &descriptorpb.EnumValueDescriptorProto{Name: &v.name, Number: proto.Int32(int32(n))})
	}
	return d
}
