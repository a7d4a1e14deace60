package redis

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/redis-process-worker/rpw"
)

// A message on the channel of a stream is the place after its newest event, in the form of wire. If few small events were
// published it goes on, in lines of their own, with the place before them and the events: who waits there need not ask for them.

// What a message carries at most.
const (
	carryEvents = 8
	carryBytes  = 4 << 10
)

// carry says the events of a publish for its message, "" if they are too many or too large for it.
func carry(batches []rpw.Batch) string {
	if len(batches) > 1 || len(batches[0].Events) > carryEvents {
		return ""
	}
	size := 0
	for i := range batches[0].Events {
		if size += batches[0].Events[i].Size(); size > carryBytes {
			return ""
		}
	}
	b := make([]byte, 0, size+8*len(batches[0].Events))
	b = binary.AppendUvarint(b, uint64(len(batches[0].Events)))
	for i := range batches[0].Events {
		e := &batches[0].Events[i]
		b = appendText(b, e.Type)
		b = appendText(b, e.Key)
		b = appendText(b, stringOf(e.Data))
		b = binary.AppendUvarint(b, uint64(len(e.Header)))
		for name, value := range e.Header {
			b = appendText(appendText(b, name), value)
		}
	}
	return stringOf(b)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// endOf is the place that a message tells.
func endOf(message string) string {
	end, _, _ := strings.Cut(message, "\n")
	return end
}

// carried are the events of a message for a reader who is at a place; none if it has none for him.
func carried(message, here string, most int) []rpw.Event {
	end, rest, ok := strings.Cut(message, "\n")
	if !ok {
		return nil
	}
	begin, text, _ := strings.Cut(rest, "\n")
	if begin != here {
		return nil
	}
	last, err := unwire(end)
	if err != nil {
		return nil
	}
	c := carrier{text: text}
	n := c.number()
	if n == 0 || n > carryEvents {
		return nil
	}
	events := make([]rpw.Event, n)
	for i := range events {
		e := &events[i]
		back := n - 1 - uint64(i) // they follow one another
		e.Epoch, e.ID, e.Count = last.Epoch, rpw.ID{MS: last.ID.MS, Seq: last.ID.Seq - back}, last.Count-back
		e.Type, e.Key, e.Data = c.string(), c.string(), bytesOf(c.string())
		if headers := c.number(); headers > 0 && !c.bad {
			e.Header = make(map[string]string, min(headers, 32))
			for range headers {
				name := c.string()
				e.Header[name] = c.string()
			}
		}
	}
	if c.bad {
		return nil
	}
	return slices.Clip(events[:min(most, len(events))])
}

// carrier reads what carry writes.
type carrier struct {
	text string
	bad  bool
}

func (c *carrier) number() uint64 {
	n, size := binary.Uvarint(bytesOf(c.text[:min(len(c.text), binary.MaxVarintLen64)]))
	if size <= 0 {
		c.bad, c.text = true, ""
		return 0
	}
	c.text = c.text[size:]
	return n
}

func (c *carrier) string() string {
	n := c.number()
	if n > uint64(len(c.text)) {
		c.bad, c.text = true, ""
		return ""
	}
	text := c.text[:n]
	c.text = c.text[n:]
	return text
}
