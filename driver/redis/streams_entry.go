package redis

import (
	"strconv"
	"strings"
	"unsafe"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// metaField is the name of the second field of an entry. Its value is what lua/stream_core.lua says.
const metaField = "rpw"

// bytesOf and stringOf are conversions without a copy, of what nobody writes to.
func bytesOf(s string) []byte  { return unsafe.Slice(unsafe.StringData(s), len(s)) }
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// readEntry reads an entry of a stream: {id, {field, value, ...}}. Of one that others wrote the count is 0, its first field is type and
// data, its further fields are headers.
func readEntry(m *rueidis.RedisMessage, epoch uint64) (rpw.Event, error) {
	parts, err := m.ToArray()
	if err != nil || len(parts) != 2 {
		return rpw.Event{}, badReply("a strange entry")
	}
	text, _ := parts[0].ToString()
	e := rpw.Event{Epoch: epoch}
	if e.ID, err = rpw.ParseID(text); err != nil {
		return e, badReply(text)
	}
	fields, err := parts[1].ToArray()
	if err != nil || len(fields) < 2 {
		return e, badReply("an entry without fields")
	}
	e.Type = textOf(&fields[0])
	e.Data = bytesOf(textOf(&fields[1]))
	rest := fields[2:]
	if len(rest) >= 2 && textOf(&rest[0]) == metaField {
		readMeta(&e, textOf(&rest[1]))
		rest = rest[2:]
	}
	if len(rest) >= 2 {
		e.Header = make(map[string]string, len(rest)/2)
		for i := 0; i+1 < len(rest); i += 2 {
			e.Header[textOf(&rest[i])] = textOf(&rest[i+1])
		}
	}
	return e, nil
}

// readEntries reads a list of entries.
func readEntries(m rueidis.RedisMessage, epoch uint64) ([]rpw.Event, error) {
	entries, err := m.ToArray()
	if err != nil {
		return nil, badReply(err.Error())
	}
	events := make([]rpw.Event, len(entries))
	for i := range entries {
		if events[i], err = readEntry(&entries[i], epoch); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// readMeta reads the meta field: "=count", "offset", "offset key", or of a dead letter "offset/epoch/count key".
func readMeta(e *rpw.Event, meta string) {
	if count, ok := strings.CutPrefix(meta, "="); ok {
		e.Count, _ = strconv.ParseUint(count, 10, 64)
		return
	}
	offset, key, _ := strings.Cut(meta, " ")
	if i := strings.IndexByte(offset, '/'); i >= 0 {
		offset = offset[:i]
	}
	if n, err := strconv.ParseInt(offset, 10, 64); err == nil {
		e.Count = e.ID.Seq + uint64(n)
	}
	e.Key = key
}

// sizeOf is what an event counts against the bytes of a page.
func sizeOf(e *rpw.Event) int {
	return rpw.NewEvent{Type: e.Type, Data: e.Data, Key: e.Key, Header: e.Header}.Size()
}

// countOn gives entries that others wrote the count that follows the one before.
func countOn(events []rpw.Event, last uint64, known bool) {
	for i := range events {
		if events[i].Count == 0 && known {
			events[i].Count = last + 1
		}
		if events[i].Count != 0 {
			last, known = events[i].Count, true
		}
	}
}
