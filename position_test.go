package rpw_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/redis-process-worker/rpw"
)

// TestPositionForm: users store this text, so it never changes.
func TestPositionForm(t *testing.T) {
	p := rpw.Position{Epoch: 35, ID: rpw.ID{MS: 1795399404210, Seq: 36}, Count: 7}
	assert.Equal(t, "1.z.mwsmg6gi.10.7", p.String())
	assert.Empty(t, rpw.Position{}.String())
	assert.True(t, rpw.Position{}.IsZero())

	most := rpw.Position{Epoch: math.MaxUint64, ID: rpw.ID{MS: math.MaxUint64, Seq: math.MaxUint64}, Count: math.MaxUint64}
	assert.LessOrEqual(t, len(most.String()), 64)
}

func TestPositionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Uint64()
		p := rpw.Position{Epoch: rapid.Uint64Min(1).Draw(t, "epoch"), ID: rpw.ID{MS: number.Draw(t, "ms"), Seq: number.Draw(t, "seq")}, Count: number.Draw(t, "count")}
		got, err := rpw.ParsePosition(p.String())
		require.NoError(t, err)
		require.Equal(t, p, got)

		id, err := rpw.ParseID(p.ID.String())
		require.NoError(t, err)
		require.Equal(t, p.ID, id)

		data, err := json.Marshal(map[string]any{"p": p, "id": p.ID})
		require.NoError(t, err)
		var back struct {
			P  rpw.Position
			ID rpw.ID
		}
		require.NoError(t, json.Unmarshal(data, &back))
		require.Equal(t, p, back.P)
		require.Equal(t, p.ID, back.ID)
	})
}

func TestBadPositions(t *testing.T) {
	for _, s := range []string{
		"1", "1.", "1.1.1.1", "1.1.1.1.1.1", "2.1.1.1.1", "1.0.1.1.1", "1.1.1.1.", "1.-1.1.1.1", "1.+1.1.1.1", "1.01.1.1.1", "1.Z.1.1.1",
		"1.3w5e11264sgsg.1.1.1", " 1.1.1.1.1", "1.1.1.1.1\n", "1795399404210-0", "$", "1.1.1.1.1" + string(make([]byte, 64)),
	} {
		_, err := rpw.ParsePosition(s)
		assert.ErrorIs(t, err, rpw.ErrInvalid, "%q", s)
		p := rpw.Position{Count: 5}
		assert.Error(t, p.UnmarshalText([]byte(s)))
		assert.Equal(t, rpw.Position{Count: 5}, p, "a failed read changes nothing")
	}
	for _, s := range []string{"", "1", "-", "1-", "-1", "1-1-1", "01-1", "1-01", "+1-1", "a-b", "18446744073709551616-0", "1-0 ", "*", "$"} {
		_, err := rpw.ParseID(s)
		assert.ErrorIs(t, err, rpw.ErrInvalid, "%q", s)
	}
}

func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"", "1.z.mwsmg6gi.10.7", "1.0.0.0.0", "1....", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := rpw.ParsePosition(s)
		if err != nil {
			require.ErrorIs(t, err, rpw.ErrInvalid)
			require.True(t, p.IsZero())
			return
		}
		require.Equal(t, s, p.String(), "one text for one position")
	})
}

func TestIDOrder(t *testing.T) {
	ids := []rpw.ID{{}, {Seq: 1}, {MS: 1}, {MS: 1, Seq: 1}, {MS: 2}, {MS: math.MaxUint64, Seq: math.MaxUint64}}
	for i, a := range ids {
		for j, b := range ids {
			assert.Equal(t, min(max(i-j, -1), 1), a.Compare(b))
		}
	}
	assert.Equal(t, "1795399404210-0", rpw.ID{MS: 1795399404210}.String())
	assert.Equal(t, time.UnixMilli(1795399404210), rpw.ID{MS: 1795399404210}.Time())
}
