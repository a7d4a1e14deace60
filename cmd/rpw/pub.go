package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redis-process-worker/rpw"
)

func newPubCommand(a *app) *cobra.Command {
	p := &pub{app: a}
	cmd := &cobra.Command{
		Use:   "pub STREAM TYPE [DATA|-]",
		Short: "Publish events",
		Long: `Publish an event with DATA, which is JSON (default: null), and print its id when it is stored.

With - the data comes from stdin, one JSON value a line, each an event. What has come is published together,
at most 1,000 events at a time, each batch all or none. An error names its line; the lines before it are stored.`,
		Example: `  rpw pub file-change write '{"path":"cat.png"}'
  rpw pub file-change write '{"path":"cat.png"}' --key cat-1    # stored once, also when repeated
  jq -c '.[]' changes.json | rpw pub file-change write -`,
		Args: positional(2, 3),
		RunE: a.over(p.run),
	}
	cmd.Flags().StringVar(&p.key, "key", "", "store it once: the same key within two minutes answers the id of the first")
	cmd.Flags().StringToStringVar(&p.header, "header", nil, "add headers, NAME=VALUE")
	return cmd
}

type pub struct {
	*app
	key    string
	header map[string]string
}

func (p *pub) run(ctx context.Context, hub *rpw.Hub, args []string) error {
	stream, kind, data := args[0], args[1], "null"
	if len(args) == 3 {
		data = args[2]
	}
	if data == "-" {
		if p.key != "" {
			return misuse("--key is of one event; it does not go with -")
		}
		return p.lines(ctx, hub, stream, kind)
	}
	e, err := p.event(kind, []byte(data))
	if err != nil {
		return err
	}
	return p.publish(ctx, hub, stream, []rpw.NewEvent{e})
}

func (p *pub) event(kind string, data []byte) (rpw.NewEvent, error) {
	if err := checkJSON("DATA", data); err != nil {
		return rpw.NewEvent{}, err
	}
	e := rpw.NewEvent{Type: kind, Data: data, Key: p.key, Header: p.header}
	if n := e.Size(); n > rpw.MaxPayload { // here, since it would refuse all of its batch
		return e, rpw.Errorf(rpw.ErrTooLarge, "the event has %d bytes (max %d)", n, rpw.MaxPayload)
	}
	return e, nil
}

// checkJSON wants one JSON value.
func checkJSON(what string, data []byte) error {
	if json.Valid(data) {
		return nil
	}
	var v json.RawMessage
	err := json.Unmarshal(data, &v)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return misuse("%s is not JSON: %v at byte %d; a text needs its quotes: '\"text\"'", what, err, syntax.Offset)
	}
	return misuse("%s is not JSON: %v", what, err)
}

// publish stores events as one batch and prints their ids.
func (p *pub) publish(ctx context.Context, hub *rpw.Hub, stream string, events []rpw.NewEvent) error {
	answers, err := hub.Streams().Publish(ctx, []rpw.Batch{{Stream: stream, Events: events}})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return err
	}
	for _, at := range answers[0].Positions {
		if p.json {
			err = p.printJSON(struct {
				ID       rpw.ID       `json:"id"`
				Position rpw.Position `json:"position"`
			}{at.ID, at})
		} else {
			err = p.print("%s", at.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lines publishes the lines of stdin: whatever has come while the batch before was on its way is the next.
func (p *pub) lines(ctx context.Context, hub *rpw.Hub, stream, kind string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := readLines(ctx, p.stdin)
	for {
		batch, end := p.gather(ctx, lines, kind)
		if len(batch) > 0 {
			if err := p.publish(ctx, hub, stream, batch); err != nil {
				return err
			}
		}
		if end == io.EOF {
			return nil
		}
		if end != nil {
			return end
		}
	}
}

// gather waits for a line, and takes those that have come with it as far as they fit into a batch. The error is what
// follows them; io.EOF is the end.
func (p *pub) gather(ctx context.Context, lines <-chan line, kind string) (batch []rpw.NewEvent, err error) {
	for size := 0; len(batch) < rpw.MaxBatch && size <= rpw.MaxBatchBytes-rpw.MaxPayload; {
		var l line
		var more bool
		select {
		case l, more = <-lines:
		default:
			if len(batch) > 0 {
				return batch, nil
			}
			select {
			case l, more = <-lines:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if !more {
			return batch, io.EOF
		}
		if l.err != nil {
			return batch, fmt.Errorf("line %d: %w", l.number, l.err)
		}
		e, err := p.event(kind, l.text)
		if err != nil {
			return batch, fmt.Errorf("line %d: %w", l.number, err)
		}
		batch, size = append(batch, e), size+e.Size()
	}
	return batch, nil
}

// line is a line of stdin that is not blank, or the error that ended it.
type line struct {
	number int
	text   []byte
	err    error
}

// readLines reads in a goroutine, since a read of a terminal or a pipe cannot be interrupted: when ctx ends first, the goroutine stays in its
// read until that returns or the process ends.
func readLines(ctx context.Context, r io.Reader) <-chan line {
	lines := make(chan line, 256)
	send := func(l line) bool {
		select {
		case lines <- l:
			return true
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, rpw.MaxPayload+2) // with its line end
		n := 1
		for ; scanner.Scan(); n++ {
			if text := bytes.TrimSpace(scanner.Bytes()); len(text) > 0 && !send(line{number: n, text: bytes.Clone(text)}) {
				return
			}
		}
		err := scanner.Err()
		if errors.Is(err, bufio.ErrTooLong) {
			err = rpw.Errorf(rpw.ErrTooLarge, "it has more than %d bytes", rpw.MaxPayload)
		}
		if err != nil {
			send(line{number: n, err: err})
		}
	}()
	return lines
}
