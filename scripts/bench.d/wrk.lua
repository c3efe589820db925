-- Prints exact counts at the end, which wrk itself rounds.
function done(summary)
  local e = summary.errors
  io.write("bytes " .. summary.bytes .. "\n")
  io.write("errors " .. e.connect + e.read + e.write + e.status + e.timeout .. "\n")
end
