-- The actions of one queue, for all verbs: how they are stored. A verb brings the queue up to now (advance), changes records, and saves. What most runs need for that is in
-- core_actions.lua; what only some do is in records_actions.lua, since a function costs at each run that makes it.
--
-- KEYS, all of the queue's slot: 1 the queue, 2 specs, 3 records, 4 log, 5 unique keys, 6 index by creation, 7 ready, 8 due, 9 run,
-- 10 done, 11 watched, 12 the lane of the call, if it has one.
-- ARGV: 1 the channel of the queue, 2 the beginning of the channels of its actions, 3 the number of the call in its lane, or "".
-- All times and durations are in µs.

local QUEUE <const> = KEYS[1]
local SPECS <const> = KEYS[2]
local RECORDS <const> = KEYS[3]
local LOG <const> = KEYS[4]
local UNIQUE <const> = KEYS[5]
local INDEX <const> = KEYS[6]
local READY <const> = KEYS[7]
local DUE <const> = KEYS[8]
local RUN <const> = KEYS[9]
local DONE <const> = KEYS[10]
local WATCHED <const> = KEYS[11]
local LANE <const> = KEYS[12]

local KEPT <const> = 100           -- changes and failures of an action
local SLICE <const> = 500          -- records that one run of a script brings up to now
local RETIRED <const> = 64         -- records past their retention that it removes beside its own work
local INLINE <const> = 1024        -- bytes of history that are kept within the record
local BUNDLE <const> = 100         -- ids of a bundle
local WATCH_TTL <const> = 60000    -- ms
local MIN_LEASE <const> = 100000
local SECOND <const> = 1000000
local DAY <const> = 86400000000

-- States, as they are stored.
local PENDING <const> = 1
local RUNNING <const> = 2
local COMPLETED <const> = 3
local FAILED <const> = 4
local CANCELLED <const> = 5

-- Fields of the queue. COUNT + state is how many records are in that state.
local QUEUE_FORMAT <const> = '>I8I8I8I8I8I8I8I8I8I8I8I8I8'
local NOW <const> = 1
local LAST_CREATED <const> = 2
local LAST_TOKEN <const> = 3
local PAUSED <const> = 4
local COUNT <const> = 4
local READY_COUNT <const> = 10     -- records in READY
local NEXT <const> = 11            -- nothing in DUE and RUN is before; 0: nothing is there
local RETIRE <const> = 12          -- nothing in DONE is before; 0: nothing is there
local WATCHED_UNTIL <const> = 13   -- nobody is in WATCHED after

-- Behind these fields stands the seat, or nothing: of a claim that waits and has looked a moment ago, or that was given an action since. Enqueue gives it an action that
-- comes alone while nothing is ready, and tells it. Its fields: until when it counts, the number of the claim in its lane, its lease, or the token, the
-- lane, the channel to tell it on, or "" once it was given one, and its worker, or the id.
local QUEUE_SIZE <const> = 104
local SEAT_FORMAT <const> = '>I8I8I8sss'
local RESTORING <const> = 255      -- begins what stands there while the queue is restored; no time of a seat does

-- A record as it is stored: its fields in FORMAT, its history as far as it is kept within the record, and a mark. What happens to most actions
-- is shorter, and is added to what is there; decode makes of it what would have been written. By the mark:
--   PLAIN   new, ready, and with nothing that needs care later: created, lot, place, run-at, grace, attempts, retention if failed, cancelled, completed
--   LEASED  a PLAIN one, then its start, lease, token and worker
--   ENDED_PLAINLY  a LEASED one, then when it was completed, and its output
local WRITTEN <const> = 0
local PLAIN <const> = 1
local LEASED <const> = 2
local ENDED_PLAINLY <const> = 3
local PLAIN_FORMAT <const> = '>I8I8BI8I5I4i8i8i8B'
local LEASE_FORMAT <const> = '>I8I5I8B' -- with the length of the worker's name
local PLAIN_SIZE <const> = 59
local SPAN_AT <const> = 51         -- where the retention if completed begins, and with it all that says when a lease and a retention end
local TOKEN_AT <const> = 73
local WORKER_AT <const> = 82
local ENDED_COMPLETED <const> = 14 -- in ENDED: by a move to complete, and so for good

-- SPECS holds lots: specs of actions that were enqueued together, as one text: how many, where each begins and where the last one ends, and all of them. The
-- name of a lot is when its first action was created, as in records. Who has gone leaves an empty place.
local ALONE_AT <const> = 10 -- where the spec begins that is alone in its lot

-- The sorted sets hold bundles: ids that came to a place together, with one score, are one member: when the first of them was created, as its record begins,
-- and all of them, a zero byte between. What leaves is taken out of its bundle. Of actions created by one script those of a bundle follow each other, so what is READY
-- at one time is in order of creation, and the bundle of an id in INDEX, where scores are times of creation, is that of its own time or the next before.
-- INDEX and RUN hold MARK as well, from the beginning of the queue to its end: a set that lacks it was lost, with all that stood there.
local MARK <const> = ''

-- Fields of a record.
local FORMAT <const> = '>I8I8BI8I8I8I8I8I8I8I8I8I5I5i8i8i8I5I4I4I4BBBBI8dsssI5I4'
local CREATED <const> = 1          -- no two records of a queue have the same
local LOT <const> = 2              -- the lot of its spec, and the place there
local PLACE <const> = 3
local RUN_AT <const> = 4
local STARTED <const> = 5
local FINISHED <const> = 6
local UNTIL <const> = 7
local TOKEN <const> = 8
local CANCEL_AT <const> = 9
local START_BY <const> = 10
local WITHIN <const> = 11
local IS_DUE <const> = 12          -- its time in DUE, or 0
local LEASE <const> = 13
local GRACE <const> = 14
local KEEP <const> = 12            -- KEEP + state is its retention: 0 is the default, -1 for ever
local SEQ <const> = 18
local ATTEMPT <const> = 19
local MAX_ATTEMPTS <const> = 20
local FAILURES <const> = 21
local STATE <const> = 22
local IS_READY <const> = 23        -- 1 if it stands in READY
local HAS_DATA <const> = 24
local ENDED <const> = 25           -- how the newest lease was given up that its holder did give up: see actions_advance.lua
local ENDED_TOKEN <const> = 26
local PROGRESS <const> = 27
local WORKER <const> = 28
local KEY <const> = 29
local REASON <const> = 30
local FIRST <const> = 31           -- the number of the first change within the record
local HISTORY_SIZE <const> = 32
local HISTORY <const> = 33

local clock = redis.call('TIME')
local now = clock[1] * SECOND + clock[2]

local queue = redis.call('GET', QUEUE)
