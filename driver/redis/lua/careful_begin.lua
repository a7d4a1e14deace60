-- careful_begin: what stands from here to careful_end is made with the first call of careful.
careful = function()
if made then return made end
