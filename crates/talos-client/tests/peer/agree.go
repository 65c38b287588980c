package main

import (
	"encoding/json"
	"fmt"

	"github.com/cosi-project/runtime/pkg/resource"
	"github.com/cosi-project/runtime/pkg/resource/protobuf"
	"gopkg.in/yaml.v3"
)

// Whether both forms of a specification say the same: the one that a typed client reads and the one that people read.
func agrees(typed, shown resource.Resource) error {
	text, err := yaml.Marshal(typed.Spec())
	if err != nil {
		return err
	}
	ours, err := plain(string(text))
	if err != nil {
		return err
	}
	raw, ok := shown.(*protobuf.Resource)
	if !ok {
		return fmt.Errorf("the resource is a %T", shown)
	}
	sent, err := raw.Marshal()
	if err != nil {
		return err
	}
	theirs, err := plain(sent.Spec.YamlSpec)
	if err != nil {
		return err
	}
	if ours != theirs {
		return fmt.Errorf("the message says\n%s\nand the text\n%s", ours, theirs)
	}
	return nil
}

// A specification as JSON, without what is empty: one form has keys for it and the other has none.
func plain(text string) (string, error) {
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		return "", err
	}
	data, err := json.Marshal(filled(value))
	return string(data), err
}

func filled(value any) any {
	switch value := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, item := range value {
			if item = filled(item); item != nil {
				out[key] = item
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		out := []any{}
		for _, item := range value {
			out = append(out, filled(item))
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case string:
		if value == "" {
			return nil
		}
	case bool:
		if !value {
			return nil
		}
	case int:
		if value == 0 {
			return nil
		}
	}
	return value
}
