end
rescue = function(...)
  groups()
  return rescue(...)
end
