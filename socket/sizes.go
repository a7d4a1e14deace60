package socket

import (
	"context"

	"github.com/redis-process-worker/rpw"
)

// What answers hold, for the operations whose answers can be large. It is counted by what their payloads hold; the rest is small.

// perItem is for what an item holds beside its payload.
const perItem = 256

// pageHolds is the most that a page may hold: Max items, or as many as the contracts' bound of bytes lets there be.
func pageHolds(most int) int {
	if most < 1 || most > rpw.MaxPage {
		most = rpw.MaxPage
	}
	return min(most*(rpw.MaxPayload+perItem), rpw.MaxBatchBytes)
}

func sizeOfEvents(events *[]rpw.Event) (n int) {
	for i := range *events {
		n += sizeOfEvent(&(*events)[i])
	}
	return n
}

func sizeOfEvent(e *rpw.Event) int {
	n := perItem + len(e.Data)
	for key, value := range e.Header {
		n += len(key) + len(value)
	}
	return n
}

func sizeOfDeliveries(deliveries *[]rpw.Delivery) (n int) {
	for i := range *deliveries {
		n += sizeOfEvent(&(*deliveries)[i].Event)
	}
	return n
}

func sizeOfValues(values *[]rpw.Value) (n int) {
	for i := range *values {
		n += len((*values)[i].Data)
	}
	return n
}

func sizeOfRecords(page *rpw.LogPage) (n int) {
	for i := range page.Records {
		r := &page.Records[i]
		n += perItem + len(r.Message) + len(r.Attrs)
	}
	return n
}

func sizeOfGot(answers *[]rpw.GotAction) int {
	return sizeOfActions(*answers, func(got *rpw.GotAction) *rpw.Action { return &got.Action })
}

// sizeOfActions is for what holds an action each.
func sizeOfActions[T any](list []T, action func(*T) *rpw.Action) (n int) {
	for i := range list {
		n += sizeOfAction(action(&list[i]))
	}
	return n
}

func sizeOfAction(a *rpw.Action) int {
	n := perItem + len(a.Arg) + len(a.Data) + len(a.Output) + sizeOfChanges(&a.Events)
	for i := range a.Failures {
		n += len(a.Failures[i].Message) + len(a.Failures[i].Stack)
	}
	return n
}

func sizeOfChanges(changes *[]rpw.Change) (n int) {
	for i := range *changes {
		n += perItem + len((*changes)[i].Data) + len((*changes)[i].Output)
	}
	return n
}

// atOnce is how many items of a request without pages are read at a time: so many of the largest are there before it is known that they are too much.
const atOnce = 64

// inParts makes a call for a few items at a time. An answer that no connection could carry is ErrTooLarge as soon as that is seen.
func inParts[T, A any](ctx context.Context, items []T, call func(context.Context, []T) ([]A, error), size func(*[]A) int) ([]A, error) {
	if len(items) <= atOnce || len(items) > rpw.MaxBatch { // the Hub says so
		return call(ctx, items)
	}
	answers, held := make([]A, 0, len(items)), 0
	for len(items) > 0 {
		n := min(atOnce, len(items))
		part, err := call(ctx, items[:n])
		if err != nil {
			return nil, err
		}
		if held += size(&part); held > maxAnswer {
			return nil, rpw.Errorf(rpw.ErrTooLarge, "the answer has more than %d bytes; ask for fewer items", maxAnswer)
		}
		answers, items = append(answers, part...), items[n:]
	}
	return answers, nil
}
