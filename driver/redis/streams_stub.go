package redis

import "github.com/redis-process-worker/rpw"

func (s *store) streams() rpw.StreamBus { return nil }
