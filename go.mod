module github.com/redis-process-worker/rpw

go 1.26
