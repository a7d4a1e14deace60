package socket

import "context"

func serveOriginal(ctx context.Context, c conn, p *peer) error {
	for {
		typ, data, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if err := p.message(len(data)); err != nil {
			return err
		}
		if err := c.Write(ctx, typ, data); err != nil {
			return err
		}
	}
}
