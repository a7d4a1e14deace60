package redis

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/internal/redistest"
)

func TestAStreamOfOthersIsReadFromItsBeginning(t *testing.T) {
	b := newBus(t)
	for n := range 5 {
		b.bare("XADD", "%s", "*", "evt", strconv.Itoa(n))
	}
	b.bare("XTRIM", "%s", "MAXLEN", "3")
	assert.Equal(t, texts(2, 4), b.read(rpw.Position{}))
	begin := b.locate(rpw.Oldest())
	assert.Equal(t, texts(2, 4), b.read(begin))
	b.bare("XADD", "%s", "*", "evt", "5")
	assert.Equal(t, texts(2, 5), b.read(begin))
	end := b.locate(rpw.Newest())
	assert.EqualValues(t, 6, end.Count)
	b.add(6, 6)
	assert.Equal(t, texts(6, 6), b.read(end))
	assert.Equal(t, texts(4, 6), b.read(b.locate(rpw.Last(3))))
}

// TestHistoryTakenByOthersIsAGap: F17, S5: others trim a stream and delete entries of it, below positions and at them.
func TestHistoryTakenByOthersIsAGap(t *testing.T) {
	b := newBus(t)
	begin := b.locate(rpw.Newest())
	at := b.add(1, 10)
	b.bare("XTRIM", "%s", "MAXLEN", "=", "4")
	for i, p := range append([]rpw.Position{begin}, at[:5]...) {
		gap := b.gap(p)
		assert.Equal(t, rpw.GapTrimmed, gap.Kind)
		assert.EqualValues(t, 6-i, gap.Missed)
		assert.Equal(t, texts(7, 10), b.read(gap.Resume))
	}
	for i, p := range at[5:] {
		assert.Equal(t, texts(7+i, 10), b.read(p), "no false alarm")
	}
	b.add(11, 13)
	_, err := b.DeleteEvents(t.Context(), "s", []rpw.ID{at[6].ID, at[8].ID})
	require.NoError(t, err)
	assert.Equal(t, []string{"8", "10", "11", "12", "13"}, b.read(at[6]), "an edit among them")
	b.bare("XDEL", "%s", at[7].ID.String())
	assert.Equal(t, []string{"10", "11", "12", "13"}, b.read(at[8]), "by others, too")
	b.bare("XTRIM", "%s", "MAXLEN", "=", "1")
	assert.Equal(t, rpw.GapTrimmed, b.gap(at[9]).Kind)
	assert.Equal(t, rpw.GapPossible, b.gap(at[6]).Kind, "trimmed or edited: it cannot be told")
}

func TestAnEmptiedStreamIsAGap(t *testing.T) {
	b := newBus(t)
	at := b.add(1, 3)
	b.bare("XTRIM", "%s", "MAXLEN", "=", "0")
	assert.EqualValues(t, 1, b.gap(at[1]).Missed)
	assert.Empty(t, b.read(at[2]))
	b.add(4, 4)
	assert.Equal(t, texts(4, 4), b.read(at[2]))
	assert.Equal(t, texts(4, 4), b.read(b.gap(at[0]).Resume))
}

// TestAStreamDeletedByOthersIsAnotherHistory: F18, S5: others delete a stream and make it anew.
func TestAStreamDeletedByOthersIsAnotherHistory(t *testing.T) {
	b := newBus(t)
	begin := b.locate(rpw.Newest())
	at := b.add(1, 3)
	b.group()
	b.settle(b.fetch(1), rpw.Settlement{Verdict: rpw.Ack})
	b.bare("DEL", "%s")
	assert.Equal(t, rpw.GapReset, b.gap(at[2]).Kind)
	for n := range 2 {
		b.bare("XADD", "%s", "*", "evt", strconv.Itoa(n))
	}
	for _, p := range append(at, begin) {
		gap := b.gap(p)
		assert.Equal(t, rpw.GapReset, gap.Kind)
		assert.Equal(t, texts(0, 1), b.read(gap.Resume))
	}
	assert.Equal(t, rpw.GapReset, b.fetchGap().Kind)
	assert.Equal(t, texts(0, 1), dataOf(b.fetch(5)))

	// As many entries as there had been, and more, before anybody looks.
	at = b.add(2, 4)
	time.Sleep(2 * time.Millisecond) // or the new ids could be the old ones
	b.bare("DEL", "%s")
	for n := range 10 {
		b.bare("XADD", "%s", "*", "evt", strconv.Itoa(n))
	}
	for _, p := range at {
		assert.Equal(t, rpw.GapReset, b.gap(p).Kind)
	}

	// And who had read nothing of it yet.
	b.bare("DEL", "%s")
	begin = b.locate(rpw.Newest())
	require.Zero(t, begin.Count)
	b.add(1, 3)
	time.Sleep(2 * time.Millisecond)
	b.bare("DEL", "%s")
	for n := range 5 {
		b.bare("XADD", "%s", "*", "evt", strconv.Itoa(n))
	}
	assert.Equal(t, rpw.GapReset, b.gap(begin).Kind)
}

// TestARestoredOlderCopyIsAnotherHistory: F18, S5: the keys of a stream are replaced by an older copy of them.
func TestARestoredOlderCopyIsAnotherHistory(t *testing.T) {
	server := redistest.Start(t)
	b := busOf(t, storeOn(t, server, "p"))
	dump := func() (restore func()) {
		list := b.bare("KEYS", "*")
		keys, err := list.AsStrSlice()
		require.NoError(t, err)
		saved := make(map[string]string)
		for _, key := range keys {
			m := b.bare("DUMP", key)
			saved[key], err = m.ToString()
			require.NoError(t, err)
		}
		return func() {
			b.bare("FLUSHALL")
			for key, value := range saved {
				b.bare("RESTORE", key, "0", value)
			}
		}
	}
	b.group()
	at := b.add(1, 3)
	restore := dump()
	ahead := b.add(4, 6)
	b.settle(b.fetch(6), rpw.Settlement{Verdict: rpw.Ack})
	restore()
	for _, p := range ahead {
		assert.Equal(t, rpw.GapReset, b.gap(p).Kind, "ahead of the restored copy")
	}
	assert.Empty(t, b.read(at[2]), "what is still there goes on")
	again := b.add(7, 11) // past the counts of those who were ahead
	for _, p := range ahead {
		assert.Equal(t, rpw.GapReset, b.gap(p).Kind, "its event is none of this history")
	}
	assert.Equal(t, texts(7, 11), b.read(at[2]))
	_, err := b.DeleteEvents(t.Context(), "s", []rpw.ID{again[2].ID})
	require.NoError(t, err)
	assert.Equal(t, rpw.GapReset, b.gap(ahead[1]).Kind, "though events were edited")
	assert.Equal(t, texts(1, 3), dataOf(b.fetch(3)), "the group is as old as the copy")
}
