package socket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/redis-process-worker/rpw"
)

// The codec writes values of the contracts' types by position, without names: integers as varints, strings and bytes with their length, slices
// and maps with their count (and one more, so that 0 is nil), structs as the number of fields that follow, without the zero ones at
// the end. So a field appended to a struct is zero for a peer that does not know it yet, and one that is set and not known is refused, as the
// contracts ask. The order of fields is the protocol: schema_test.go holds it.

// plan says how values of a type are written and read. It is made once for each type. Values are addressable.
type plan struct {
	encode func(e *encoder, v reflect.Value)
	decode func(d *decoder, v reflect.Value)
}

// What a body may cost the receiver: so many bytes for each of its own, and some to begin with. Few real values cost more; their sender adds zero
// bytes, so that the bound holds for all. It adds them a little early: types grow.
const (
	costPerByte = 4
	costFree    = 256
)

// encoder writes a body.
type encoder struct {
	b    []byte
	cost int // of the value to the receiver
}

// append appends a value and its padding to b. v points to it.
func (p *plan) append(b []byte, v any) []byte {
	e := encoder{b: b}
	p.encode(&e, reflect.ValueOf(v).Elem())
	if missing := (e.cost-costFree/2)/(costPerByte-1) - (len(e.b) - len(b)); missing > 0 {
		e.b = append(e.b, make([]byte, missing)...)
	}
	return e.b
}

// parse reads a body into the zero value that v points to. Byte slices in the value are parts of b.
func (p *plan) parse(b []byte, v any) error {
	d := decoder{b: b, budget: costPerByte*len(b) + costFree}
	p.decode(&d, reflect.ValueOf(v).Elem())
	for _, c := range d.b {
		if c != 0 {
			d.fail("bytes follow the value")
			break
		}
	}
	return d.err
}

func (e *encoder) uvarint(n uint64) { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) varint(n int64)   { e.b = binary.AppendVarint(e.b, n) }

func (e *encoder) text(s string) {
	e.cost += len(s)
	e.uvarint(uint64(len(s)))
	e.b = append(e.b, s...)
}

// decoder reads a body. After its first error it reads zeros.
type decoder struct {
	b      []byte // what is left
	budget int    // bytes of memory that may still be allocated
	err    error
}

func (d *decoder) fail(format string, args ...any) {
	d.stop(rpw.Errorf(rpw.ErrInvalid, "the message is malformed: %w", fmt.Errorf(format, args...)))
}

func (d *decoder) stop(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

// uvarint reads a number in its shortest form.
func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 || size > 1 && d.b[size-1] == 0 {
		if d.err == nil {
			d.fail("a number is cut off or overlong")
		}
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) varint() int64 {
	n := d.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

// take reads n bytes.
func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail("%d bytes are announced, %d are left", n, len(d.b))
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) text() string {
	b := d.take(d.uvarint())
	d.spend(len(b), 1)
	return string(b)
}

// count reads the count of a slice or map; none is nil.
func (d *decoder) count() (n int, some bool) {
	announced := d.uvarint()
	if announced == 0 {
		return 0, false
	}
	if announced-1 > uint64(len(d.b)) { // each item takes a byte at least
		d.fail("%d items are announced, %d bytes are left", announced-1, len(d.b))
		return 0, false
	}
	return int(announced - 1), true
}

// spend takes the memory of n things from the budget.
func (d *decoder) spend(n, size int) bool {
	if n > 0 && size > d.budget/n {
		d.fail("it needs too much memory for its size")
		return false
	}
	d.budget -= n * size
	return d.err == nil
}

// planOf makes the plan for a type. It panics for types that have none: the contracts have no such types, see TestEachMethodHasOneOperation.
func planOf(t reflect.Type) *plan {
	switch t {
	case reflect.TypeFor[time.Time]():
		return &plan{encodeTime, decodeTime}
	case reflect.TypeFor[error]():
		return planOfError()
	case reflect.TypeFor[map[string]string]():
		return &plan{encodeTexts, decodeTexts}
	case reflect.TypeFor[rpw.Event]():
		return planOfEvent()
	case reflect.TypeFor[[]rpw.Event]():
		return planOfEvents()
	}
	switch t.Kind() {
	case reflect.Bool:
		return &plan{encodeBool, decodeBool}
	case reflect.Int, reflect.Int64:
		return &plan{encodeInt, decodeInt}
	case reflect.Uint8, reflect.Uint64:
		return &plan{encodeUint, decodeUint}
	case reflect.Float64:
		return &plan{encodeFloat, decodeFloat}
	case reflect.String:
		return &plan{
			func(e *encoder, v reflect.Value) { e.text(v.String()) },
			func(d *decoder, v reflect.Value) { v.SetString(d.text()) },
		}
	case reflect.Array:
		return planOfArray(t)
	case reflect.Pointer:
		return planOfPointer(t)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return &plan{encodeBytes, decodeBytes}
		}
		return planOfSlice(t)
	case reflect.Map:
		return planOfMap(t)
	case reflect.Struct:
		return planOfStruct(t)
	}
	panic(fmt.Sprintf("socket: no encoding for %v", t))
}

func encodeBool(e *encoder, v reflect.Value) {
	b := byte(0)
	if v.Bool() {
		b = 1
	}
	e.b = append(e.b, b)
}

func decodeBool(d *decoder, v reflect.Value) {
	switch n := d.uvarint(); n {
	case 0, 1:
		v.SetBool(n == 1)
	default:
		d.fail("%d is neither true nor false", n)
	}
}

func encodeInt(e *encoder, v reflect.Value) { e.varint(v.Int()) }

func decodeInt(d *decoder, v reflect.Value) {
	n := d.varint()
	if v.OverflowInt(n) {
		d.fail("the number %d is out of range", n)
		return
	}
	v.SetInt(n)
}

func encodeUint(e *encoder, v reflect.Value) { e.uvarint(v.Uint()) }

func decodeUint(d *decoder, v reflect.Value) {
	n := d.uvarint()
	if v.OverflowUint(n) {
		d.fail("the number %d is out of range", n)
		return
	}
	v.SetUint(n)
}

func encodeFloat(e *encoder, v reflect.Value) {
	e.b = binary.BigEndian.AppendUint64(e.b, math.Float64bits(v.Float()))
}

func decodeFloat(d *decoder, v reflect.Value) {
	if b := d.take(8); b != nil {
		v.SetFloat(math.Float64frombits(binary.BigEndian.Uint64(b)))
	}
}

func encodeBytes(e *encoder, v reflect.Value) { e.bytes(v.Bytes()) }

func decodeBytes(d *decoder, v reflect.Value) {
	if b := d.bytes(); b != nil {
		v.SetBytes(b)
	}
}

func (e *encoder) bytes(b []byte) {
	if b == nil {
		e.uvarint(0)
		return
	}
	e.uvarint(uint64(len(b)) + 1)
	e.b = append(e.b, b...)
}

func (d *decoder) bytes() []byte {
	if n, some := d.count(); some {
		return d.take(uint64(n))
	}
	return nil
}

// encodeTime: a 0 for the zero time, else a 1, seconds since 1970 and nanoseconds.
func encodeTime(e *encoder, v reflect.Value) {
	t := v.Addr().Interface().(*time.Time)
	if t.IsZero() {
		e.uvarint(0)
		return
	}
	e.uvarint(1)
	e.varint(t.Unix())
	e.uvarint(uint64(t.Nanosecond()))
}

func decodeTime(d *decoder, v reflect.Value) {
	switch n := d.uvarint(); n {
	case 0:
	case 1:
		sec, nsec := d.varint(), d.uvarint()
		if nsec >= 1e9 {
			d.fail("%d nanoseconds", nsec)
			return
		}
		*v.Addr().Interface().(*time.Time) = time.Unix(sec, int64(nsec))
	default:
		d.fail("no such form of a time: %d", n)
	}
}

// A map costs this much, beside twice its keys and values: room grows by doubling.
const mapCost = 320

func encodeTexts(e *encoder, v reflect.Value) { e.texts(*v.Addr().Interface().(*map[string]string)) }

func decodeTexts(d *decoder, v reflect.Value) {
	*v.Addr().Interface().(*map[string]string) = d.texts()
}

func (e *encoder) texts(m map[string]string) {
	if m == nil {
		e.uvarint(0)
		return
	}
	e.cost += mapCost + len(m)*64
	e.uvarint(uint64(len(m)) + 1)
	for key, value := range m {
		e.text(key)
		e.text(value)
	}
}

func (d *decoder) texts() map[string]string {
	n, some := d.count()
	if !some || !d.spend(1, mapCost) || !d.spend(n, 64) {
		return nil
	}
	m := make(map[string]string, n)
	for range n {
		key := d.text()
		m[key] = d.text()
	}
	if len(m) != n {
		d.fail("a key comes twice")
		return nil
	}
	return m
}

func planOfMap(t reflect.Type) *plan {
	keys, values := planOf(t.Key()), planOf(t.Elem())
	each := 2 * int(t.Key().Size()+t.Elem().Size())
	return &plan{
		func(e *encoder, v reflect.Value) {
			if v.IsNil() {
				e.uvarint(0)
				return
			}
			e.cost += mapCost + v.Len()*each
			e.uvarint(uint64(v.Len()) + 1)
			key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
			for iter := v.MapRange(); iter.Next(); {
				key.SetIterKey(iter)
				value.SetIterValue(iter)
				keys.encode(e, key)
				values.encode(e, value)
			}
		},
		func(d *decoder, v reflect.Value) {
			n, some := d.count()
			if !some || !d.spend(1, mapCost) || !d.spend(n, each) {
				return
			}
			m := reflect.MakeMapWithSize(t, n)
			for range n {
				key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
				keys.decode(d, key)
				values.decode(d, value)
				m.SetMapIndex(key, value)
			}
			if m.Len() != n {
				d.fail("a key comes twice")
				return
			}
			v.Set(m)
		},
	}
}

func planOfArray(t reflect.Type) *plan {
	if t.Elem().Kind() != reflect.Uint8 {
		panic(fmt.Sprintf("socket: no encoding for %v", t))
	}
	return &plan{
		func(e *encoder, v reflect.Value) { e.b = append(e.b, v.Slice(0, v.Len()).Bytes()...) },
		func(d *decoder, v reflect.Value) { copy(v.Slice(0, v.Len()).Bytes(), d.take(uint64(v.Len()))) },
	}
}

func planOfPointer(t reflect.Type) *plan {
	elem, size := planOf(t.Elem()), int(t.Elem().Size())
	return &plan{
		func(e *encoder, v reflect.Value) {
			if v.IsNil() {
				e.uvarint(0)
				return
			}
			e.cost += size
			e.uvarint(1)
			elem.encode(e, v.Elem())
		},
		func(d *decoder, v reflect.Value) {
			switch n := d.uvarint(); {
			case n > 1:
				d.fail("%d values at a place for one", n)
			case n == 1 && d.spend(1, size):
				v.Set(reflect.New(t.Elem()))
				elem.decode(d, v.Elem())
			}
		},
	}
}

func planOfSlice(t reflect.Type) *plan { return planOfSliceOf(t, planOf(t.Elem())) }

func planOfSliceOf(t reflect.Type, elem *plan) *plan {
	size := int(t.Elem().Size())
	return &plan{
		func(e *encoder, v reflect.Value) {
			if v.IsNil() {
				e.uvarint(0)
				return
			}
			n := v.Len()
			e.cost += n * size
			e.uvarint(uint64(n) + 1)
			for i := range n {
				elem.encode(e, v.Index(i))
			}
		},
		func(d *decoder, v reflect.Value) {
			n, some := d.count()
			if !some || !d.spend(n, size) {
				return
			}
			s := reflect.MakeSlice(t, n, n)
			for i := 0; i < n && d.err == nil; i++ {
				elem.decode(d, s.Index(i))
			}
			v.Set(s)
		},
	}
}

func planOfStruct(t reflect.Type) *plan {
	var fields []*plan
	for f := range t.Fields() {
		if !f.IsExported() {
			panic(fmt.Sprintf("socket: no encoding for %v: the field %s is not exported", t, f.Name))
		}
		if f.Tag.Get("wire") != "-" { // such fields come last
			fields = append(fields, planOf(f.Type))
		}
	}
	return &plan{
		func(e *encoder, v reflect.Value) {
			n := len(fields)
			for n > 0 && v.Field(n-1).IsZero() {
				n--
			}
			e.uvarint(uint64(n))
			for i := range n {
				fields[i].encode(e, v.Field(i))
			}
		},
		func(d *decoder, v reflect.Value) {
			n := d.uvarint()
			if n > uint64(len(fields)) {
				d.stop(rpw.Errorf(errors.ErrUnsupported, "%s: the peer sets a field that this version does not know; update it", t.Name()))
				return
			}
			for i := range int(n) {
				fields[i].decode(d, v.Field(i))
			}
		},
	}
}
