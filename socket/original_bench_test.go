package socket

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// BenchmarkOriginal measures what the original's figures are: requests in flight of one client, over the memory driver, and
// awaited one by one.
func BenchmarkOriginal(b *testing.B) {
	text := strings.Repeat("x", 80)
	for _, each := range []struct{ name, frame string }{
		{"publish", `{"type":"publish","stream":"s","eventType":"e","data":{"text":"` + text + `"},"requestId":"6a1e4b0c-8d4a-4a6e-9f0b-1c2d3e4f5a6b"}`},
		{"setVal", `{"type":"setVal","key":"k","value":{"text":"` + text + `"},"requestId":"6a1e4b0c-8d4a-4a6e-9f0b-1c2d3e4f5a6b"}`},
		{"getVal", `{"type":"getVal","key":"k","requestId":"6a1e4b0c-8d4a-4a6e-9f0b-1c2d3e4f5a6b"}`},
	} {
		frame := []byte(each.frame)
		for _, inFlight := range []int{1, 20_000} {
			b.Run(fmt.Sprintf("%s/inFlight=%d", each.name, inFlight), func(b *testing.B) {
				c := dialOriginal(b, originalServer(b, originalHub(b), Config{Limits: Limits{Messages: 1e9}})).conn
				slots := make(chan struct{}, inFlight)
				b.ReportAllocs()
				b.ResetTimer()
				go func() {
					for range b.N {
						slots <- struct{}{}
						if c.Write(context.Background(), websocket.MessageText, frame) != nil {
							return
						}
					}
				}()
				for range b.N {
					_, _, err := c.Read(context.Background())
					require.NoError(b, err)
					<-slots
				}
			})
		}
	}
}
