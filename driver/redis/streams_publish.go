package redis

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/redis-process-worker/rpw"
)

// Publish implements rpw.StreamBus: one script for each stream of the call.
func (b *streamBus) Publish(ctx context.Context, batches []rpw.Batch) ([]rpw.Published, error) {
	if len(batches) == 1 && !b.keys.flat { // the usual call
		args, landed := b.publishArgs(batches)
		defer landed()
		m, err := b.exec(ctx, publishScript, b.keysOf(batches[0].Stream), args)
		if err != nil {
			return nil, err
		}
		answers := make([]rpw.Published, 1)
		return answers, b.readPublished(&m, batches, []int{0}, answers)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	answers := make([]rpw.Published, len(batches))
	var streams []string
	of := make(map[string][]int) // stream -> its batches
	for i := range batches {
		if b.keys.flat {
			if answers[i].Err = suitsOriginal(&batches[i]); answers[i].Err != nil {
				continue
			}
		}
		stream := batches[i].Stream
		if of[stream] == nil {
			streams = append(streams, stream)
		}
		of[stream] = append(of[stream], i)
	}
	calls := make([]scriptCall, len(streams))
	for i, stream := range streams {
		own := make([]rpw.Batch, 0, len(of[stream]))
		for _, j := range of[stream] {
			own = append(own, batches[j])
		}
		args, landed := b.publishArgs(own)
		defer landed()
		calls[i] = scriptCall{b.keysOf(stream), args}
	}
	for i, answer := range b.execAll(ctx, publishScript, calls) {
		err := answer.err
		if err == nil {
			err = b.readPublished(&answer.message, batches, of[streams[i]], answers)
		}
		if err != nil {
			if len(streams) == 1 {
				return nil, err
			}
			for _, j := range of[streams[i]] {
				answers[j] = rpw.Published{Err: err}
			}
		}
	}
	return answers, nil
}

// suitsOriginal refuses what programs of the original cannot read: it takes every payload for JSON, and an event of the type
// complete for the end of its stream.
func suitsOriginal(batch *rpw.Batch) error {
	for i := range batch.Events {
		e := &batch.Events[i]
		if e.Type == "complete" {
			return rpw.Errorf(rpw.ErrInvalid, "with the original's layout no event can have the type complete: it would end the readers of the original")
		}
		if len(e.Data) > 0 && !json.Valid(e.Data) {
			return rpw.Errorf(rpw.ErrInvalid, "with the original's layout payloads must be JSON, which that of event %d is not", i)
		}
	}
	return nil
}

// How many arguments stand before the batches, and before the events of each.
const (
	callHead  = 4
	batchHead = 8
)

// publishArgs are the ARGV of the script for batches of one stream; landed is to be called when it is over.
func (b *streamBus) publishArgs(batches []rpw.Batch) (args []string, landed func()) {
	n := callHead
	for i := range batches {
		n += batchHead + 2*len(batches[i].Events) // or more, if they are not plain
	}
	args = make([]string, 0, n)
	call, channel := b.begin(), b.keys.channel(streamChannel, batches[0].Stream)
	own := b.waker.takeoff(channel, call, batches)
	args = append(args, call, channel, carries(batches, own), strconv.Itoa(len(batches)))
	for i := range batches {
		args = appendBatch(args, &batches[i])
	}
	return args, func() {
		if own {
			b.waker.land(channel, call)
		}
	}
}

func appendBatch(args []string, batch *rpw.Batch) []string {
	producer, keep, age, expect := "", "", "", ""
	if batch.Producer != (rpw.Producer{}) {
		producer = string(batch.Producer.ID[:])
	}
	if batch.Keep != (rpw.Retention{}) {
		keep, age = strconv.FormatInt(batch.Keep.Events, 10), millis(batch.Keep.Age)
	}
	window := batch.KeyWindow
	if window == 0 {
		window = rpw.RepeatWindow
	}
	if !batch.Expect.IsZero() {
		expect = wire(batch.Expect)
	}
	args = append(args, producer, strconv.FormatUint(batch.Producer.Seq, 10), keep, age, millis(window), expect, strconv.Itoa(len(batch.Events)))
	if !slices.ContainsFunc(batch.Events, func(e rpw.NewEvent) bool { return e.Key != "" || len(e.Header) > 0 }) {
		args = append(args, "1")
		for i := range batch.Events {
			args = append(args, batch.Events[i].Type, stringOf(batch.Events[i].Data))
		}
		return args
	}
	args = append(args, "")
	for i := range batch.Events {
		e := &batch.Events[i]
		args = append(args, e.Type, stringOf(e.Data))
		if e.Key == "" && len(e.Header) == 0 {
			args = append(args, "")
			continue
		}
		args = append(args, strconv.Itoa(1+2*len(e.Header)), e.Key)
		for name, value := range e.Header {
			args = append(args, name, value)
		}
	}
	return args
}

// readPublished reads the answer for the batches at these places, which are of one stream, and tells those who wait for it.
func (b *streamBus) readPublished(m *rueidis.RedisMessage, batches []rpw.Batch, places []int, answers []rpw.Published) error {
	texts, err := m.AsStrSlice()
	if err != nil || len(texts) != len(places) {
		return badReply("a strange answer to publish")
	}
	for i, at := range places {
		if refusal, ok := strings.CutPrefix(texts[i], "!"); ok {
			answers[at].Err = classifyReply("RPW " + refusal)
			continue
		}
		positions, err := readRuns(texts[i], len(batches[at].Events))
		if err != nil {
			return err
		}
		answers[at].Positions = positions
		b.waker.published(b.keys.channel(streamChannel, batches[at].Stream), batches[at].Events, positions[len(positions)-1])
	}
	return nil
}

// readRuns reads "epoch id count n [id count n ...]": n positions from each id on.
func readRuns(text string, n int) ([]rpw.Position, error) {
	epoch, rest, _ := strings.Cut(text, " ")
	positions := make([]rpw.Position, 0, n)
	for rest != "" {
		var id, count, length string
		id, rest, _ = strings.Cut(rest, " ")
		count, rest, _ = strings.Cut(rest, " ")
		length, rest, _ = strings.Cut(rest, " ")
		at, err := unwire(epoch + " " + id + " " + count)
		if err != nil {
			return nil, err
		}
		run, err := strconv.Atoi(length)
		if err != nil || run > n-len(positions) {
			return nil, badReply(text)
		}
		for range run {
			positions = append(positions, at)
			at.ID.Seq++
			at.Count++
		}
	}
	if len(positions) != n {
		return nil, badReply(text)
	}
	return slices.Clip(positions), nil
}
