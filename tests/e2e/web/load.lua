-- wrk's requests: a task of 100 bytes each. At the end one line with what came of them.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  accepted, refused = 0, 0
  task = wrk.format("POST", "/tasks", { ["Content-Type"] = "text/plain" }, string.rep("x", 100))
end

function request()
  return task
end

function response(status)
  if status == 202 then accepted = accepted + 1 else refused = refused + 1 end
end

function done(_, latency)
  local all, none = 0, 0
  for _, thread in ipairs(threads) do
    all = all + thread:get("accepted")
    none = none + thread:get("refused")
  end
  print(string.format("accepted %d refused %d p50 %d p99 %d", all, none,
    latency:percentile(50), latency:percentile(99)))
end
