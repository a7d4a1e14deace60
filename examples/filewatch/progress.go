package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// meter shows progress: a bar on a terminal, a line every now and then elsewhere.
type meter struct {
	w       io.Writer
	columns func() int // of the terminal; nil elsewhere
}

const (
	barEvery  = 100 * time.Millisecond
	lineEvery = time.Second
	barWidth  = 24
)

func newMeter(w io.Writer) meter {
	m := meter{w: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		m.columns = func() int {
			width, _, err := term.GetSize(int(f.Fd()))
			if err != nil || width <= 0 {
				return 80
			}
			return width
		}
	}
	return m
}

// show shows how far a ledger is until ctx ends. Of the files to come it knows when expected is not 0.
func (m meter) show(ctx context.Context, l *ledger, expected *atomic.Int64) {
	began := time.Now()
	every := lineEvery
	if m.columns != nil {
		every = barEvery
		defer io.WriteString(m.w, "\r\x1b[K") // leaves no trace
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now, _ := l.now()
		text := m.text(now, expected.Load(), time.Since(began))
		if m.columns != nil {
			text = "\r" + fit(text, m.columns()-1) + "\x1b[K"
		} else {
			text += "\n"
		}
		io.WriteString(m.w, text)
	}
}

// text is one line of progress.
func (m meter) text(t totals, expected int64, took time.Duration) string {
	var b strings.Builder
	if expected > 0 {
		share := min(float64(t.done())/float64(expected), 1)
		if m.columns != nil {
			full := int(share * barWidth)
			b.WriteString(strings.Repeat("█", full) + strings.Repeat("░", barWidth-full) + "  ")
		}
		fmt.Fprintf(&b, "%3.0f %%  %s of %s files", share*100, number(t.done()), number(expected))
	} else {
		fmt.Fprintf(&b, "%s files", number(t.done()))
	}
	fmt.Fprintf(&b, "  %s  %s/s", size(t.Bytes), number(perSecond(t.Digested, took)))
	if t.Failed > 0 {
		fmt.Fprintf(&b, "  %s failed", number(t.Failed))
	}
	return b.String()
}

// fit cuts text to a width in columns; all its characters take one.
func fit(text string, columns int) string {
	if runes := []rune(text); len(runes) > columns {
		return string(runes[:max(columns, 0)])
	}
	return text
}
