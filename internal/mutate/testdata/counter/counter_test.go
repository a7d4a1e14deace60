package counter

import "testing"

func TestNext(t *testing.T) {
	t.Run("One", func(t *testing.T) {
		if Next(0) != 1 {
			t.Error("0 is not followed by 1")
		}
	})
}
