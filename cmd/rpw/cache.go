package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/logs"
)

func newGetCommand(a *app) *cobra.Command {
	var raw bool
	cmd := &cobra.Command{
		Use:   "get KEY",
		Short: "Print a value of the cache",
		Long: `Print the value of KEY on one line, escaped for terminals; --raw writes its bytes as they are, and nothing else.
A key that does not exist is exit code 3.

With --json: {"key","data","ttlMs"}; a value that is no JSON stands in "text" or "base64" instead of "data".`,
		Example: `  rpw get thumbnail:cat.png
  rpw get thumbnail:cat.png --raw > value`,
		Args: positional(1, 1),
	}
	cmd.RunE = a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
		values, err := hub.Cache().Get(ctx, rpw.GetRequest{Keys: args})
		if err != nil {
			return err
		}
		v := values[0]
		switch {
		case raw && a.json:
			return misuse("--raw does not go with --json")
		case !v.Found:
			return &rpw.Error{Op: "get", Driver: hub.Driver(), Target: args[0], Kind: rpw.ErrNotFound}
		case a.json:
			return a.printJSON(struct {
				Key string `json:"key"`
				payload
				TTL int64 `json:"ttlMs,omitempty"`
			}{args[0], payloadOf(v.Data), max(millis(v.TTL), 0)})
		case raw:
			_, err = a.stdout.Write(v.Data)
			return err
		}
		return a.print("%s", logs.Escape(string(v.Data)))
	})
	cmd.Flags().BoolVar(&raw, "raw", false, "write the bytes as they are")
	return cmd
}

func newSetCommand(a *app) *cobra.Command {
	s := &set{app: a}
	cmd := &cobra.Command{
		Use:   "set KEY VALUE|-",
		Short: "Store a value in the cache",
		Long: `Store VALUE, which is JSON, under KEY; - reads it from stdin. With --string VALUE is a text, stored as a JSON string; with
--raw it is stored as it is. Without --ttl it lives until it is deleted. A condition that does not hold is exit code 4.`,
		Example: `  rpw set config '{"limit":5}'
  rpw set greeting hello --string --ttl 1h
  rpw set lock 1 --if-absent --ttl 30s
  rpw set config '{"limit":6}' --if-equal '{"limit":5}'`,
		Args: positional(2, 2),
		RunE: a.over(s.run),
	}
	flags := cmd.Flags()
	flags.DurationVar(&s.ttl, "ttl", 0, "how long it lives (1ms to 10 years)")
	flags.BoolVar(&s.keepTTL, "keep-ttl", false, "it lives as long as the value it replaces")
	flags.BoolVar(&s.text, "string", false, "VALUE is a text; store it as a JSON string")
	flags.BoolVar(&s.raw, "raw", false, "store VALUE as it is")
	flags.BoolVar(&s.ifAbsent, "if-absent", false, "only if the key does not exist")
	flags.BoolVar(&s.ifPresent, "if-present", false, "only if the key exists")
	flags.StringVar(&s.ifEqual, "if-equal", "", "only if the key has exactly this value, byte by byte")
	cmd.MarkFlagsMutuallyExclusive("ttl", "keep-ttl")
	cmd.MarkFlagsMutuallyExclusive("string", "raw")
	cmd.MarkFlagsMutuallyExclusive("if-absent", "if-present", "if-equal")
	s.given = cmd.Flags().Changed
	return cmd
}

type set struct {
	*app
	ttl                 time.Duration
	keepTTL             bool
	text, raw           bool
	ifAbsent, ifPresent bool
	ifEqual             string
	given               func(flag string) bool
}

func (s *set) run(ctx context.Context, hub *rpw.Hub, args []string) error {
	item := rpw.CacheSet{Key: args[0], TTL: rpw.NoTTL}
	var err error
	if item.Data, err = s.value(args[1]); err != nil {
		return err
	}
	switch {
	case s.keepTTL:
		item.TTL = rpw.KeepTTL
	case s.given("ttl") && s.ttl <= 0:
		return misuse("--ttl is %v; it must be positive", s.ttl)
	case s.given("ttl"):
		item.TTL = s.ttl
	}
	switch {
	case s.ifAbsent:
		item.When = rpw.IfAbsent
	case s.ifPresent:
		item.When = rpw.IfPresent
	case s.given("if-equal"):
		item.When, item.Old = rpw.IfEqual, []byte(s.ifEqual)
	}
	errs, err := hub.Cache().Set(ctx, []rpw.CacheSet{item})
	if err != nil {
		return err
	}
	return errs[0]
}

func (s *set) value(arg string) ([]byte, error) {
	data, err := s.argument(arg)
	switch {
	case err != nil || s.raw:
		return data, err
	case s.text:
		return json.Marshal(string(data))
	}
	return data, checkJSON("VALUE", data)
}

// argument is an argument, or what stdin holds if that is -.
func (a *app) argument(arg string) ([]byte, error) {
	if arg != "-" {
		return []byte(arg), nil
	}
	data, err := io.ReadAll(io.LimitReader(a.stdin, rpw.MaxPayload+1))
	if err == nil && len(data) > rpw.MaxPayload {
		err = rpw.Errorf(rpw.ErrTooLarge, "stdin holds more than %d bytes", rpw.MaxPayload)
	}
	return data, err
}

func newDelCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "del KEY...",
		Short: "Delete keys of the cache",
		Long: `Delete keys and print how many of them were there, which may be 0.

With --json, a line for each key: {"key","deleted"}.`,
		Example: `  rpw del thumbnail:cat.png thumbnail:dog.png`,
		Args:    positional(1, -1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, keys []string) error {
			items := make([]rpw.CacheDelete, len(keys))
			for i, key := range keys {
				items[i].Key = key
			}
			answers, err := hub.Cache().Delete(ctx, items)
			if err != nil {
				return err
			}
			n := 0
			var failed failures
			for i, answer := range answers {
				switch {
				case answer.Err != nil:
					failed = append(failed, answer.Err)
				case a.json:
					err = cmp.Or(err, a.printJSON(struct {
						Key     string `json:"key"`
						Deleted bool   `json:"deleted"`
					}{keys[i], answer.Deleted}))
				}
				if answer.Deleted {
					n++
				}
			}
			if !a.json {
				err = a.print("%s deleted", counted(n, "key"))
			}
			return cmp.Or(err, failed.err())
		}),
	}
}

func newKeysCommand(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "keys [PREFIX]",
		Short: "List the keys of the cache",
		Long: `List the keys that begin with PREFIX, in no order, without blocking the backend.

With --json, a line for each: {"key"}.`,
		Example: `  rpw keys thumbnail: --limit 10`,
		Args:    positional(0, 1),
		RunE: a.over(func(ctx context.Context, hub *rpw.Hub, args []string) error {
			for key, err := range atMost(limit, rpw.Keys(ctx, hub, optional(args))) {
				switch {
				case err != nil:
				case a.json:
					err = a.printJSON(struct {
						Key string `json:"key"`
					}{key})
				default:
					err = a.print("%s", text(key))
				}
				if err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "at most this many")
	return cmd
}

// optional is the first argument, if there is one.
func optional(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
