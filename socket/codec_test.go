package socket

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
)

// filler makes values of any type that the codec knows.
type filler struct{ *rand.Rand }

func (f filler) fill(v reflect.Value) {
	if f.IntN(4) == 0 { // zero values are a case of their own
		return
	}
	n := f.IntN(4)
	switch t := v.Type(); t {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(f.Int64N(1<<40)-1<<39, f.Int64N(1e9))))
		return
	case reflect.TypeFor[error]():
		v.Set(reflect.ValueOf(rpw.Errorf(rpw.ErrConflict, "%d", f.Int())))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(f.Uint64() >> f.IntN(64)))
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(f.Uint64() >> f.IntN(64) & (1<<v.Type().Bits() - 1))
	case reflect.Float64:
		v.SetFloat(f.NormFloat64())
	case reflect.String:
		b := make([]byte, f.IntN(300))
		for i := range b {
			b[i] = byte(f.Uint32())
		}
		v.SetString(string(b))
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range n {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(key)
			f.fill(value)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("wire") != "-" {
				f.fill(v.Field(i))
			}
		}
	}
}

// TestAPageToReuseStaysHere: it is of this process, and large.
func TestAPageToReuseStaysHere(t *testing.T) {
	plan := planOf(reflect.TypeFor[rpw.ReadRequest]())
	req := rpw.ReadRequest{Stream: "s", Wait: time.Second}
	lean := plan.append(nil, &req)
	req.Reuse = make([]rpw.Event, 100)
	assert.Equal(t, lean, plan.append(nil, &req))
}

// TestCodecReturnsWhatWentIn: nil and empty stay what they are, and times the same instant.
func TestCodecReturnsWhatWentIn(t *testing.T) {
	f := filler{rand.New(rand.NewPCG(1, 2))}
	for _, op := range operations {
		info := op.info()
		for typ, p := range map[reflect.Type]*plan{info.requestType: info.request, info.answerType: info.answer} {
			for range 200 {
				in, out := reflect.New(typ), reflect.New(typ)
				f.fill(in.Elem())
				b := p.append(nil, in.Interface())
				require.NoError(t, p.parse(b, out.Interface()), "%v", typ)
				require.Equal(t, in.Interface(), out.Interface(), "%v", typ)
			}
		}
	}
}

// TestEventsByHand: the plan of events made by hand writes and reads what the one made from their type does, also from broken bodies.
func TestEventsByHand(t *testing.T) {
	f := filler{rand.New(rand.NewPCG(3, 4))}
	one, usual := planOfEvent(), planOfStruct(reflect.TypeFor[rpw.Event]())
	several, usualSeveral := planOfEvents(), planOfSliceOf(reflect.TypeFor[[]rpw.Event](), usual)
	agree := func(byHand, usual *plan, in reflect.Value) {
		b := usual.append(nil, in.Interface())
		require.Equal(t, b, byHand.append(nil, in.Interface()))
		broken := slices.Clone(b)
		if len(broken) > 0 {
			broken[f.IntN(len(broken))] = byte(f.Uint32())
		}
		for _, body := range [][]byte{b, b[:f.IntN(len(b)+1)], broken} {
			want, got := reflect.New(in.Type().Elem()), reflect.New(in.Type().Elem())
			wantErr, err := usual.parse(body, want.Interface()), byHand.parse(body, got.Interface())
			require.Equal(t, wantErr, err)
			if err == nil {
				require.Equal(t, want.Interface(), got.Interface())
			}
		}
	}
	for range 3000 {
		event, events := new(rpw.Event), new([]rpw.Event)
		f.fill(reflect.ValueOf(event).Elem())
		f.fill(reflect.ValueOf(events).Elem())
		oneHeader(event)
		for i := range *events {
			oneHeader(&(*events)[i])
		}
		agree(one, usual, reflect.ValueOf(event))
		agree(several, usualSeveral, reflect.ValueOf(events))
	}
}

// oneHeader leaves an event one header at most, since a map is written in no order.
func oneHeader(e *rpw.Event) {
	for k := range e.Header {
		if len(e.Header) > 1 {
			delete(e.Header, k)
		}
	}
}

// TestPayloadsAreNotCopied: a payload is part of the message that brought it, and cannot grow into what follows.
func TestPayloadsAreNotCopied(t *testing.T) {
	b := opPublish.request.append(nil, &[]rpw.Batch{{Stream: "s", Events: []rpw.NewEvent{{Type: "t", Data: []byte("payload")}, {Type: "u"}}}})
	var q []rpw.Batch
	require.NoError(t, opPublish.request.parse(b, &q))
	for i := range b {
		b[i] = 'x'
	}
	assert.Equal(t, "xxxxxxx", string(q[0].Events[0].Data))
	assert.Equal(t, len("payload"), cap(q[0].Events[0].Data))
	assert.Equal(t, "s", q[0].Stream, "names are: they may be kept long")
}

// TestManySmallItemsFit: real requests cost the receiver more than their size allows; padding lets them pass.
func TestManySmallItemsFit(t *testing.T) {
	in := make([]rpw.ActionSpec, rpw.MaxBatch)
	for i := range in {
		in[i] = rpw.ActionSpec{Ref: rpw.ActionRef{Queue: "q", ID: "1"}, Name: "n"}
	}
	b := opEnqueue.request.append(nil, &in)
	var out []rpw.ActionSpec
	require.NoError(t, opEnqueue.request.parse(b, &out))
	assert.Equal(t, in, out)
	assert.GreaterOrEqual(t, costPerByte*len(b), rpw.MaxBatch*int(reflect.TypeFor[rpw.ActionSpec]().Size()))
}

// TestMalformedBodies: nothing is allocated for what is only announced, and nothing is read in two ways.
func TestMalformedBodies(t *testing.T) {
	for name, c := range map[string]struct {
		op   operation
		body []byte
	}{
		"nothing":                  {opRead, nil},
		"cut off":                  {opGroups, []byte{3, 'a'}},
		"more follows":             {opGroups, []byte{1, 'a', 'b'}},
		"overlong number":          {opGroups, []byte{0x81, 0x00, 'a'}},
		"number beyond 64 bits":    {opGroups, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}},
		"a string of 2^62":         {opGroups, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40}},
		"2^62 items":               {opPublish, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40}},
		"items that are not there": {opPublish, []byte{200, 1, 0, 0}},
		"empty items, many":        {opEnqueue, append([]byte{0xe9, 0x07}, make([]byte, 1000)...)},
		"neither true nor false":   {opStreams, []byte{4, 0, 0, 0, 2}},
		"a verdict of 256":         {opSettle, []byte{4, 1, 's', 1, 'g', 0, 2, 2, 0, 0x80, 2}},
		"a key twice":              {opPublish, []byte{2, 3, 1, 's', 0, 2, 4, 1, 't', 0, 0, 3, 1, 'k', 0, 1, 'k', 0}},
	} {
		t.Run(name, func(t *testing.T) {
			info := c.op.info()
			err := info.request.parse(c.body, reflect.New(info.requestType).Interface())
			assert.ErrorIs(t, err, rpw.ErrInvalid)
		})
	}
	err := opStreams.request.parse([]byte{5, 0, 0, 0, 0, 1}, new(rpw.StreamsRequest))
	assert.ErrorIs(t, err, errors.ErrUnsupported, "a field that is set and not known")
	require.NoError(t, opStreams.request.parse([]byte{1, 1, 'p'}, new(rpw.StreamsRequest)), "fewer fields are an older peer's")
}

// FuzzDecode: whatever a peer sends, the memory it costs is bounded by its size, and what is read can be written and read again.
func FuzzDecode(f *testing.F) {
	fill := filler{rand.New(rand.NewPCG(3, 4))}
	for i, op := range operations {
		q, a := reflect.New(op.info().requestType), reflect.New(op.info().answerType)
		fill.fill(q.Elem())
		fill.fill(a.Elem())
		f.Add(uint8(i), false, op.info().request.append(nil, q.Interface()))
		f.Add(uint8(i), true, op.info().answer.append(nil, a.Interface()))
	}
	f.Fuzz(func(t *testing.T, number uint8, answer bool, body []byte) {
		info := operations[int(number)%len(operations)].info()
		typ, p := info.requestType, info.request
		if answer {
			typ, p = info.answerType, info.answer
		}
		v := reflect.New(typ).Interface()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := p.parse(body, v)
		runtime.ReadMemStats(&after)
		if used, most := after.TotalAlloc-before.TotalAlloc, uint64(4*len(body)+64<<10); used >= most {
			t.Fatalf("%v: %d bytes of memory for a body of %d", typ, used, len(body))
		}
		if err != nil {
			if !errors.Is(err, rpw.ErrInvalid) && !errors.Is(err, errors.ErrUnsupported) {
				t.Fatal(err)
			}
			return
		}
		once := p.append(nil, v)
		again := reflect.New(typ).Interface()
		if err := p.parse(once, again); err != nil {
			t.Fatalf("%v is written as what cannot be read: %v", typ, err)
		}
		if twice := p.append(nil, again); len(twice) != len(once) {
			t.Fatalf("%v is written in %d bytes, and then in %d", typ, len(once), len(twice))
		}
	})
}

// FuzzMessage: packets are taken apart without a panic, and put together again the same.
func FuzzMessage(f *testing.F) {
	f.Add(appendPacket(appendPacket(nil, packetRequest, 7, func(b []byte) []byte { return append(b, "body"...) }), packetCancel, 300, nil))
	f.Add(appendPacket(nil, packetReply, 1<<60, func(b []byte) []byte { return append(b, make([]byte, 200)...) }))
	f.Fuzz(func(t *testing.T, message []byte) {
		var again []byte
		rest := message
		for len(rest) > 0 {
			p, next, err := nextPacket(rest)
			if err != nil {
				break
			}
			again = appendPacket(again, p.kind, p.id, func(b []byte) []byte { return append(b, p.body...) })
			rest = next
		}
		if string(again) != string(message[:len(message)-len(rest)]) {
			t.Fatalf("%x became %x", message, again)
		}
	})
}
