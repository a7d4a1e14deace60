return made
end
