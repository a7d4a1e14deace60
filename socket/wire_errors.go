package socket

import (
	"errors"
	"reflect"

	"github.com/redis-process-worker/rpw"
)

// failure is an error on the wire: its code and what it says. The verb, the driver and the target stay out: the Hubs at the ends add theirs.
type failure struct {
	Code string // of rpw.Code; "": no error
	Text string // "": the code says it all
	Gap  *rpw.GapError
}

var failurePlan = planOf(reflect.TypeFor[failure]())

// failureOf is what a client is told of an error. What is wrong behind the server is for the server's observer: it may hold addresses and more.
func failureOf(err error) failure {
	f := failure{Code: rpw.Code(err)}
	switch f.Code {
	case "":
	case "gap":
		f.Gap, _ = errors.AsType[*rpw.GapError](err)
	case "uncertain":
		f.Text = "the server cannot tell whether it was done"
	case "unavailable":
		f.Text = "the server cannot reach its backend"
	case "closed", "canceled", "deadline_exceeded": // of the server, not of the client's Hub or context
		f = failure{Code: rpw.Code(rpw.ErrUnavailable), Text: "the server is stopping"}
	case "internal":
		f.Text = "internal error of the server"
	case "permission":
		if e, ok := errors.AsType[*rpw.Error](err); ok && e.Driver != "" { // not of the client's rights, but of the server's at its backend, whose users it may name
			f.Text = "the server has no right to do that at its backend"
			break
		}
		f.Text = explanation(err)
	default:
		f.Text = explanation(err)
	}
	return f
}

// explanation is what an error says beyond its kind.
func explanation(err error) string {
	e, ok := errors.AsType[*rpw.Error](err)
	switch {
	case !ok:
		return err.Error()
	case e.Err == nil:
		return ""
	}
	if inner, ok := e.Err.(*rpw.Error); ok {
		return explanation(inner)
	}
	return e.Err.Error()
}

// err is the error that a failure stands for.
func (f failure) err() error {
	switch {
	case f.Code == "":
		return nil
	case f.Gap != nil:
		return f.Gap
	}
	e := &rpw.Error{Kind: rpw.Sentinel(f.Code)}
	switch {
	case f.Text != "":
		e.Err = errors.New(f.Text)
	case e.Kind == nil:
		e.Err = errors.New("error of the server: " + rpw.QuoteName(f.Code))
	}
	return e
}

// errorCost is what an error takes beside its text: the wrapper and the failure.
const errorCost = 160

// planOfError writes errors within answers.
func planOfError() *plan {
	failures := planOf(reflect.TypeFor[failure]())
	return &plan{
		func(e *encoder, v reflect.Value) {
			if v.IsNil() {
				e.uvarint(0) // a failure without fields
				return
			}
			e.cost += errorCost
			f := failureOf(v.Interface().(error))
			failures.encode(e, reflect.ValueOf(&f).Elem())
		},
		func(d *decoder, v reflect.Value) {
			if len(d.b) > 0 && d.b[0] == 0 {
				d.b = d.b[1:]
				return
			}
			if !d.spend(1, errorCost) {
				return
			}
			var f failure
			failures.decode(d, reflect.ValueOf(&f).Elem())
			if err := f.err(); err != nil && d.err == nil {
				v.Set(reflect.ValueOf(err))
			}
		},
	}
}
