package socket

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

func TestBoundedQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newBoundedQueue[int](10)
		var put []int
		go func() {
			for i := range 5 {
				if !q.put(i, 4) {
					return
				}
				put = append(put, i)
			}
		}()
		synctest.Wait()
		assert.Equal(t, []int{0, 1}, put, "the next has no room")
		taken := q.take(nil)
		assert.Equal(t, []int{0, 1}, taken)
		synctest.Wait()
		assert.Equal(t, []int{2, 3}, q.take(taken))
		synctest.Wait()
		q.close()
		assert.False(t, q.put(9, 1))
		assert.Equal(t, []int{4}, q.take(nil), "what is in it can be taken")
		assert.Empty(t, q.take(nil))

		q = newBoundedQueue[int](10)
		assert.True(t, q.put(1, 100), "one item always has room")
		var last bool
		go func() { last = q.put(2, 1) }()
		synctest.Wait()
		q.drop()
		synctest.Wait()
		assert.False(t, last)
		assert.Empty(t, q.take(nil))
	})
}
