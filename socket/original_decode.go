package socket

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
)

// The error texts that clients of the original know. All others are rpw's own.
var (
	errOriginalJSON    = errors.New("Invalid JSON")                           //lint:ignore ST1005 the original's text
	errOriginalFormat  = errors.New("Invalid message format")                 //lint:ignore ST1005 the original's text
	errOriginalMessage = errors.New("Unknown message type or missing fields") //lint:ignore ST1005 the original's text
)

// originalDepth is how deep the fields of a message may nest, apart from payloads.
const originalDepth = 64

// originalField is a field of the original's messages.
type originalField uint8

const (
	fieldType originalField = iota
	fieldError
	fieldRequestID
	fieldRequestMeta
	fieldStream
	fieldEventType
	fieldData
	fieldStart
	fieldEnd
	fieldCount
	fieldKey
	fieldValue
	fieldPattern
	fieldIgnorePrefix
	originalFields
)

var originalFieldNames = [originalFields]string{"type", "error", "requestId", "requestMeta", "stream", "eventType", "data", "start", "end", "count",
	"key", "value", "pattern", "ignorePrefix"}

var originalFieldByName = func() map[string]originalField {
	byName := make(map[string]originalField, originalFields)
	for f, name := range originalFieldNames {
		byName[name] = originalField(f)
	}
	return byName
}()

// originalFieldOf finds a field by its name, which is a JSON string.
func originalFieldOf(name []byte) (f originalField, known bool) {
	if bytes.IndexByte(name, '\\') >= 0 {
		f, known = originalFieldByName[jsonText(name)]
	} else {
		f, known = originalFieldByName[string(name[1:len(name)-1])] // allocates nothing
	}
	return f, known
}

// originalMessage is a message of a client: the JSON of each field as it was sent, nil if it was not there. It aliases the message's bytes.
type originalMessage [originalFields]json.RawMessage

// decodeOriginal reads a message. Other fields than the protocol's are ignored, as the original does. Names are compared as they
// are, as in JavaScript. Where JavaScript would take the last of several fields of one name, the message is refused: nobody who looks at it on
// its way (a proxy, a log, an authorizer) shall see another stream than the one that is used. Numbers and payloads keep their text.
func decodeOriginal(data []byte) (m originalMessage, err error) {
	if !json.Valid(data) {
		return m, errOriginalJSON
	}
	s := jsonScanner{data: data}
	if s.space(); s.data[s.at] != '{' {
		return m, errOriginalFormat
	}
	for s.more() {
		name, _ := s.value()
		s.skip(':')
		value, depth := s.value()
		field, known := originalFieldOf(name)
		if !known {
			continue
		}
		payload := field == fieldData || field == fieldValue
		if m[field] != nil || depth > originalDepth && !payload {
			return originalMessage{}, errOriginalFormat
		}
		m[field] = value
	}
	if !truthy(m[fieldType]) {
		return originalMessage{}, errOriginalFormat
	}
	return m, nil
}

// jsonScanner walks over JSON that is known to be valid.
type jsonScanner struct {
	data []byte
	at   int
}

func (s *jsonScanner) space() {
	for s.at < len(s.data) && (s.data[s.at] == ' ' || s.data[s.at] == '\t' || s.data[s.at] == '\r' || s.data[s.at] == '\n') {
		s.at++
	}
}

// skip goes behind a character that must come next, and the space around it.
func (s *jsonScanner) skip(byte) {
	s.space()
	s.at++
	s.space()
}

// more goes to the next member of an object, from its opening brace or behind a member; false: there is none.
func (s *jsonScanner) more() bool {
	s.space()
	if s.data[s.at] == '}' {
		return false
	}
	s.at++ // the brace, or a comma
	s.space()
	return s.data[s.at] != '}'
}

// value goes behind a value, and returns it and how deep it nests.
func (s *jsonScanner) value() (value []byte, depth int) {
	from, open := s.at, 0
	for {
		switch s.data[s.at] {
		case '"':
			s.string()
		case '{', '[':
			s.at++
			open++
			depth = max(depth, open)
		case '}', ']':
			s.at++
			open--
		case ',', ':', ' ', '\t', '\r', '\n':
			s.at++
			continue // within an object or an array, so it is not over
		default:
			s.scalar()
		}
		if open == 0 {
			return s.data[from:s.at], depth
		}
	}
}

func (s *jsonScanner) string() {
	for s.at++; s.data[s.at] != '"'; s.at++ {
		if s.data[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
}

// scalar goes behind a number, true, false or null.
func (s *jsonScanner) scalar() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ',', ':', '}', ']', ' ', '\t', '\r', '\n':
			return
		}
		s.at++
	}
}

// truthy says what JavaScript makes of a JSON value where it asks for a boolean; an absent one is false.
func truthy(value json.RawMessage) bool {
	if len(value) == 0 {
		return false
	}
	switch value[0] {
	case 'n', 'f':
		return false
	case '"':
		return len(value) > len(`""`)
	case 't', '{', '[':
		return true
	}
	number, _ := strconv.ParseFloat(string(value), 64)
	return number != 0
}

// jsonText returns the string that a JSON string means, or the text that JavaScript makes of a number; "" for all else.
func jsonText(value json.RawMessage) string {
	if len(value) == 0 {
		return ""
	}
	switch c := value[0]; {
	case c == '"':
		if inner := value[1 : len(value)-1]; bytes.IndexByte(inner, '\\') < 0 {
			return string(inner)
		}
		var text string
		_ = json.Unmarshal(value, &text) // it is a string
		return text
	case c == '-' || '0' <= c && c <= '9':
		number, err := strconv.ParseFloat(string(value), 64)
		if err != nil {
			return "" // out of range
		}
		text, _ := json.Marshal(number) // as ECMAScript writes numbers
		return string(text)
	}
	return ""
}
