package socket

import (
	"errors"
	"reflect"

	"github.com/redis-process-worker/rpw"
)

// Events are most of what goes over a connection, so pages of them have a plan made by hand. It writes and reads byte for byte what the
// plan made from their type does; TestEventsByHand holds that.

// eventFields are the fields of an event: ID, Epoch, Count, Type, Data, Key, Header.
const eventFields = 7

// eventSize is what an event takes in memory.
var eventSize = int(reflect.TypeFor[rpw.Event]().Size())

func planOfEvent() *plan {
	return &plan{
		func(e *encoder, v reflect.Value) { e.event(v.Addr().Interface().(*rpw.Event)) },
		func(d *decoder, v reflect.Value) { d.event(v.Addr().Interface().(*rpw.Event), "") },
	}
}

func planOfEvents() *plan {
	return &plan{encodeEvents, decodeEvents}
}

func encodeEvents(e *encoder, v reflect.Value) {
	events := *v.Addr().Interface().(*[]rpw.Event)
	if events == nil {
		e.uvarint(0)
		return
	}
	e.cost += len(events) * eventSize
	e.uvarint(uint64(len(events)) + 1)
	for i := range events {
		e.event(&events[i])
	}
}

func decodeEvents(d *decoder, v reflect.Value) {
	n, some := d.count()
	if !some || !d.spend(n, eventSize) {
		return
	}
	events := make([]rpw.Event, n)
	before := ""
	for i := 0; i < n && d.err == nil; i++ {
		d.event(&events[i], before)
		before = events[i].Type
	}
	*v.Addr().Interface().(*[]rpw.Event) = events
}

func (e *encoder) event(v *rpw.Event) {
	n := fieldsOf(v)
	e.b = append(e.b, byte(n))
	if n > 0 {
		switch {
		case v.ID.Seq != 0:
			e.b = append(e.b, 2)
			e.uvarint(v.ID.MS)
			e.uvarint(v.ID.Seq)
		case v.ID.MS != 0:
			e.b = append(e.b, 1)
			e.uvarint(v.ID.MS)
		default:
			e.b = append(e.b, 0)
		}
	}
	if n > 1 {
		e.uvarint(v.Epoch)
	}
	if n > 2 {
		e.uvarint(v.Count)
	}
	if n > 3 {
		e.text(v.Type)
	}
	if n > 4 {
		e.bytes(v.Data)
	}
	if n > 5 {
		e.text(v.Key)
	}
	if n > 6 {
		e.texts(v.Header)
	}
}

// fieldsOf counts the fields without the zero ones at the end.
func fieldsOf(v *rpw.Event) int {
	switch {
	case v.Header != nil:
		return 7
	case v.Key != "":
		return 6
	case v.Data != nil:
		return 5
	case v.Type != "":
		return 4
	case v.Count != 0:
		return 3
	case v.Epoch != 0:
		return 2
	case v.ID != rpw.ID{}:
		return 1
	}
	return 0
}

// event reads an event; typ is the type it may have, which many have in common.
func (d *decoder) event(v *rpw.Event, typ string) {
	n := d.uvarint()
	if n > eventFields {
		d.stop(rpw.Errorf(errors.ErrUnsupported, "Event: the peer sets a field that this version does not know; update it"))
		return
	}
	if n > 0 {
		d.id(&v.ID)
	}
	if n > 1 {
		v.Epoch = d.uvarint()
	}
	if n > 2 {
		v.Count = d.uvarint()
	}
	if n > 3 {
		v.Type = d.textLike(typ)
	}
	if n > 4 {
		v.Data = d.bytes()
	}
	if n > 5 {
		v.Key = d.text()
	}
	if n > 6 {
		v.Header = d.texts()
	}
}

func (d *decoder) id(id *rpw.ID) {
	n := d.uvarint()
	if n > 2 {
		d.stop(rpw.Errorf(errors.ErrUnsupported, "ID: the peer sets a field that this version does not know; update it"))
		return
	}
	if n > 0 {
		id.MS = d.uvarint()
	}
	if n > 1 {
		id.Seq = d.uvarint()
	}
}

// textLike is text, for one that may be the same as another.
func (d *decoder) textLike(other string) string {
	b := d.take(d.uvarint())
	d.spend(len(b), 1)
	if string(b) == other {
		return other
	}
	return string(b)
}
