-- What wrk sends: one recording as multipart/form-data, a fresh boundary and another client each time.
local file = assert(io.open(os.getenv("RECORDING"), "rb"))
local recording = file:read("*a")
file:close()

local head = '\r\nContent-Disposition: form-data; name="audio"; filename="speech.wav"\r\n'
    .. 'Content-Type: audio/wav\r\n\r\n'
local random = math.random
local headers = {}

function init()
    math.randomseed(os.time())
end

function request()
    local boundary = string.format("----boundary%08x%08x", random(0, 2 ^ 31 - 1), random(0, 2 ^ 31 - 1))
    headers["Content-Type"] = "multipart/form-data; boundary=" .. boundary
    headers["X-Forwarded-For"] = string.format("10.%d.%d.%d", random(0, 255), random(0, 255), random(1, 254))
    local body = "--" .. boundary .. head .. recording .. "\r\n--" .. boundary .. "--\r\n"
    return wrk.format("POST", "/upload", headers, body)
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"requests": %d, "seconds": %f, "median_ms": %f, "p99_ms": %f, "refused": %d, "broken": %d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
        errors.status, errors.connect + errors.read + errors.write + errors.timeout
    ))
end
