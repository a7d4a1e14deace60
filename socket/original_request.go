package socket

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/redis-process-worker/rpw"
)

// originalRequest is a request of a client, whose required fields are there.
type originalRequest struct {
	message originalMessage
	verb    *originalVerb // nil: none is known
	name    string        // of the stream or key, or the pattern
}

// originalVerb is what a type of message asks for.
type originalVerb struct {
	subject  originalField   // the field with the name that it is about
	pattern  bool            // the subject is not one name
	required []originalField // others that must be truthy
	given    []originalField // others that must be there
	prefixed bool            // the original knows ignorePrefix for it
	access   Access          // what the client must be allowed; the name is added. No verb: nothing
	most     int             // how many requests are done in one call
	do       func(s *originalSession, ctx context.Context, run []*originalRequest)
}

// originalReads is how many values are read in one call: so many of the largest are in memory for a connection.
const originalReads = 16

// What clients must be allowed to do, apart from the name.
var (
	originalRead    = Access{Verb: "read", Right: Read, Kind: KindStream}
	originalPublish = Access{Verb: "publish", Right: Write, Kind: KindStream}
	originalGet     = Access{Verb: "get", Right: Read, Kind: KindKey}
	originalSet     = Access{Verb: "set", Right: Write, Kind: KindKey}
	originalDelete  = Access{Verb: "delete", Right: Write, Kind: KindKey}
)

// originalVerbs are the types of messages.
var originalVerbs = map[string]*originalVerb{
	"listen":          {subject: fieldStream, access: originalRead, most: 1, do: (*originalSession).listen},
	"unlisten":        {subject: fieldStream, most: 1, do: (*originalSession).unlisten},
	"publish":         {subject: fieldStream, required: []originalField{fieldEventType, fieldData}, access: originalPublish, most: rpw.MaxBatch, do: (*originalSession).publish},
	"getStreamValues": {subject: fieldStream, prefixed: true, access: originalRead, most: 1, do: (*originalSession).getStreamValues},
	"getVal":          {subject: fieldKey, prefixed: true, access: originalGet, most: originalReads, do: (*originalSession).getVals},
	"getRawVal":       {subject: fieldKey, prefixed: true, access: originalGet, most: originalReads, do: (*originalSession).getRawVals},
	"setVal":          {subject: fieldKey, given: []originalField{fieldValue}, prefixed: true, access: originalSet, most: rpw.MaxBatch, do: (*originalSession).setVals},
	"delKey":          {subject: fieldKey, prefixed: true, access: originalDelete, most: rpw.MaxBatch, do: (*originalSession).deleteKeys},
	"delKeys":         {subject: fieldPattern, pattern: true, prefixed: true, access: originalDelete, most: 1, do: (*originalSession).deleteMatching},
}

var errOriginalPrefix = rpw.Errorf(rpw.ErrInvalid, "ignorePrefix is not allowed over a socket: all names are within the server's prefix; leave it out")

// parse finds out what a message asks for.
func (r *originalRequest) parse() error {
	m := &r.message
	if truthy(m[fieldError]) {
		return errOriginalEcho
	}
	verb := originalVerbs[jsonText(m[fieldType])]
	if verb == nil {
		return errOriginalMessage
	}
	r.verb = verb
	if !truthy(m[verb.subject]) {
		return errOriginalMessage
	}
	for _, f := range verb.required {
		if !truthy(m[f]) {
			return errOriginalMessage
		}
	}
	for _, f := range verb.given {
		if m[f] == nil {
			return errOriginalMessage
		}
	}
	// It was ignored where the original ignores it, with setVal: what it asked for did not happen, so it is refused there too.
	if verb.prefixed && truthy(m[fieldIgnorePrefix]) {
		return errOriginalPrefix
	}
	r.name = jsonText(m[verb.subject])
	if r.name == "" {
		return rpw.Errorf(rpw.ErrInvalid, "%s must be a string or a number", originalFieldNames[verb.subject])
	}
	return nil
}

// errOriginalEcho stands for the error that a client sent: it gets it back, as from the original.
var errOriginalEcho = errors.New("the client's own error")

// head begins an answer: what every frame has first, with room for n bytes more.
func (r *originalRequest) head(n int) []byte {
	id, meta := r.message[fieldRequestID], r.message[fieldRequestMeta]
	b := make([]byte, 0, len(`{"response":true,"requestId":,"requestMeta":,"ok":true}`)+len(id)+len(meta)+n)
	b = append(b, `{"response":true`...)
	if truthy(id) {
		b = append(append(b, `,"requestId":`...), id...)
	}
	if truthy(meta) {
		b = append(append(b, `,"requestMeta":`...), meta...)
	}
	return b
}

// ok answers with a field; no name: without.
func (r *originalRequest) ok(field string, value []byte) []byte {
	b := append(r.head(len(field)+len(value)+4), `,"ok":true`...)
	if field != "" {
		b = append(append(append(append(b, `,"`...), field...), `":`...), value...)
	}
	return append(b, '}')
}

// failure answers with an error. The original's client tells it by that field alone; some have a type, too.
func (r *originalRequest) failure(err error) []byte {
	text := []byte(r.message[fieldError])
	if err != errOriginalEcho {
		text = appendText(nil, originalText(err))
	}
	b := r.head(len(text) + 32)
	if err == errOriginalEcho || err == errOriginalJSON || err == errOriginalFormat {
		b = append(b, `,"type":"error"`...)
	}
	return append(append(append(b, `,"error":`...), text...), '}')
}

// originalText is what a client is told of an error: why it was refused, and nothing about the backend.
func originalText(err error) string {
	switch err {
	case errOriginalJSON, errOriginalFormat, errOriginalMessage:
		return err.Error()
	}
	return failureOf(err).err().Error()
}

// appendText appends a JSON string. It escapes what must be, as JavaScript does; encoding/json escapes <, > and & too.
func appendText(b []byte, text string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, size := utf8.DecodeRuneInString(text[i:]) // U+FFFD for what is no UTF-8
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
	}
	return append(b, '"')
}

// isRefusal reports whether the store has taken a call for a mistake, and done nothing.
func isRefusal(err error) bool {
	return errors.Is(err, rpw.ErrInvalid) || errors.Is(err, rpw.ErrTooLarge) || errors.Is(err, rpw.ErrConflict)
}

// together carries out requests in one call, and answers each. If the call is refused it is for the mistake of one of them, so that each gets a call of
// its own.
func together[A any](run []*originalRequest, do func(run []*originalRequest) ([]A, error), answer func(r *originalRequest, a A, err error)) {
	answers, err := do(run)
	if len(run) > 1 && isRefusal(err) {
		for i := range run {
			together(run[i:i+1], do, answer)
		}
		return
	}
	for i, r := range run {
		var a A
		if err == nil {
			a = answers[i]
		}
		answer(r, a, err)
	}
}
