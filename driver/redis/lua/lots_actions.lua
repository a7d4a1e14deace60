-- Where specs are, see the lots of prelude_actions.lua.

-- begins says where the specs of a lot begin, and where the last one ends.
local function begins(lot) return {struct.unpack('>' .. ('I4'):rep(lot:byte(1) + 1), lot, 2)} end

-- spec_of is the spec of an action by its record as it is stored; nil: it is lost.
local lots, places = {}, {} -- by name: those that were read, false if there is none, and where their specs begin
local function spec_of(blob)
  local name, place = blob:sub(9, 16), blob:byte(17)
  local lot = lots[name]
  if lot == nil then
    lot = redis.call('HGET', SPECS, name)
    lots[name], places[name] = lot, lot and begins(lot)
  end
  return lot and lot:sub(places[name][place], places[name][place + 1] - 1) or nil
end
