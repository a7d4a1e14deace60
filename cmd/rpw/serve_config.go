package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/redis-process-worker/rpw/socket"
)

// configure completes the flags by what the file of --config says, and checks what belongs together.
func (s *serve) configure(cmd *cobra.Command) error {
	if s.configFile != "" {
		if err := s.readConfig(cmd.Flags()); err != nil {
			return misuse("%s: %w", s.configFile, err)
		}
	}
	switch {
	case (s.certFile == "") != (s.keyFile == ""):
		return misuse("--tls-cert and --tls-key go together")
	case !strings.HasPrefix(s.path, "/") || strings.ContainsAny(s.path, "{} "):
		return misuse("--path is %q; it is a path such as /ws", s.path)
	case s.grace < 0:
		return misuse("--grace is %v; it must be positive, or 0 to drop all clients at once", s.grace)
	}
	return s.authenticate()
}

// readConfig sets flags that were not given, tokens and limits from a file.
func (s *serve) readConfig(flags *pflag.FlagSet) error {
	data, err := os.ReadFile(s.configFile)
	if err != nil {
		return errors.Unwrap(err)
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(data, &entries); err != nil {
		return errors.New("it must hold one JSON object")
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		switch value := entries[name]; name {
		case "tokens":
			s.inlineTokens = bytes.Join([][]byte{[]byte(`{"tokens":`), value, []byte(`}`)}, nil)
		case "limits":
			err = setLimits(&s.config.Limits, value)
		default:
			err = setFlag(flags, name, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// setFlag sets a flag that was not given: from text, a number, true or false, or a list of texts.
func setFlag(flags *pflag.FlagSet, name string, raw json.RawMessage) error {
	flag := flags.Lookup(name)
	if flag == nil || name == "config" || name == "help" {
		return fmt.Errorf("the key %q is no flag of this command, and neither tokens nor limits", name)
	}
	if flag.Changed {
		return nil
	}
	var values []any
	if json.Unmarshal(raw, &values) != nil {
		values = make([]any, 1)
		if err := json.Unmarshal(raw, &values[0]); err != nil {
			return err
		}
	}
	for _, value := range values {
		switch value.(type) {
		case string, bool, float64:
		default:
			return fmt.Errorf("the value of %q is neither text nor a number, true or false, nor a list of these", name)
		}
		if err := flags.Set(name, fmt.Sprint(value)); err != nil {
			return fmt.Errorf("the value of %q does not fit: it is %s", name, flag.Value.Type()) // err may hold what should stay secret
		}
	}
	return nil
}

// setLimits sets fields of limits by their names; durations are text such as "5s".
func setLimits(limits *socket.Limits, raw json.RawMessage) error {
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(raw, &entries); err != nil {
		return errors.New(`"limits" must be an object`)
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		field := reflect.ValueOf(limits).Elem().FieldByName(name)
		if !field.IsValid() {
			return fmt.Errorf("there is no limit %q; see socket.Limits", name)
		}
		if err := setLimit(field, entries[name]); err != nil {
			return fmt.Errorf("limit %q: %w", name, err)
		}
	}
	return nil
}

func setLimit(field reflect.Value, raw json.RawMessage) error {
	if d, ok := field.Addr().Interface().(*time.Duration); ok {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return errors.New(`it must be a time such as "5s"`)
		}
		var err error
		*d, err = time.ParseDuration(text)
		return err
	}
	if err := json.Unmarshal(raw, field.Addr().Interface()); err != nil {
		return errors.New("it must be a number")
	}
	return nil
}
