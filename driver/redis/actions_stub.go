package redis

import "github.com/redis-process-worker/rpw"

func (s *store) actions() rpw.ActionStore { return nil }
