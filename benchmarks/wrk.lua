-- Sends one body over and over, with unique numbers and random ids put into it; prints what came of it as JSON.
-- From the environment: WRK_BODY (a file; "~U~" stands for a unique text, "~I~" for a random line of WRK_IDS),
-- WRK_IDS (a file), WRK_UNIQUE (a text no other run has), WRK_PORTS (a server for each thread, separated by commas).

local threads = 0

function setup(thread)
  local ports = {}
  for port in (os.getenv("WRK_PORTS") or ""):gmatch("%d+") do ports[#ports + 1] = port end
  if #ports > 0 then
    thread.addr = wrk.lookup("127.0.0.1", ports[threads % #ports + 1])[1]
  end
  threads = threads + 1
  thread:set("number", threads)
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local pieces, marks, ids, count, unique = {}, {}, {}, 0, ""

function init(_)
  math.randomseed(os.time() + number)
  unique = (os.getenv("WRK_UNIQUE") or "") .. "-" .. number .. "-"
  local path = os.getenv("WRK_BODY")
  if not path then return end
  local body = read(path)
  local from = 1
  while true do
    local first, last, mark = body:find("~([UI])~", from)
    pieces[#pieces + 1] = body:sub(from, (first or 0) - 1)
    if not first then break end
    marks[#marks + 1] = mark
    from = last + 1
  end
  if os.getenv("WRK_IDS") then
    for id in read(os.getenv("WRK_IDS")):gmatch("[^\n]+") do ids[#ids + 1] = id end
  end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  if #pieces == 0 then return wrk.format() end
  local parts = { pieces[1] }
  for index, mark in ipairs(marks) do
    if mark == "U" then
      count = count + 1
      parts[#parts + 1] = unique .. count
    else
      parts[#parts + 1] = ids[math.random(#ids)]
    end
    parts[#parts + 1] = pieces[index + 1]
  end
  return wrk.format(nil, nil, nil, table.concat(parts))
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "microseconds": %d, "p50": %.1f, "p99": %.1f, "status": %d, "sockets": %d, "timeouts": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write, errors.timeout))
end
