# The frame of actions in R. An action reads this file with the line that begins the examples (myaction.r, mc.r,
# keepalive.r), and uses of it what it needs; README shows how.
#
# An action that comes to its end has done its message; bad_input() says that no further try can help; any other error of
# R asks for another try.

# The message, from STDIN to its end: as bytes, or as text, without the newline at its end.
read_bytes <- function() {
  input <- file("stdin", "rb")
  on.exit(close(input))
  body <- raw()
  while (length(chunk <- readBin(input, "raw", 2^20)) > 0) body <- c(body, chunk)
  body
}
read_text <- function() sub("\n$", "", tryCatch(rawToChar(read_bytes()), error = bad_input))

# Words of the action's own command line, such as {alpha} in `--action 'mc.r {alpha}'`, by their place.
argument <- function(place) commandArgs(trailingOnly = TRUE)[place]
number <- function(place) {
  value <- suppressWarnings(as.numeric(argument(place)))
  if (is.na(value)) bad_input("argument ", place, " is no number: ", argument(place))
  value
}

# The number of the item in the table of ./inv map (1 elsewhere), the same each time it is tried: set.seed(item()).
item <- function() as.integer(Sys.getenv("AMQP_ITEM", "1"))

# The message's id, fit for the name of a file; without one, a name that no other message has.
message_id <- function() {
  id <- gsub("[^A-Za-z0-9_-]", "_", Sys.getenv("AMQP_MESSAGE_ID"))
  if (nzchar(id)) id else sub("^Rtmp", "", basename(tempdir()))
}

# Give the message up; also as tryCatch(..., error = bad_input).
bad_input <- function(...) {
  why <- if (inherits(..1, "condition")) conditionMessage(..1) else paste0(...)
  if (is_kept_alive()) stop(structure(class = c("bad_input", "error", "condition"), list(message = why, call = NULL)))
  message(why)
  quit(status = 65)
}

# Write bytes, text, or what a function writes to the file that it is given: function(draft) write.csv(table, draft).
#
# A message can be worked on twice; a rename leaves either the old file or the new one, never half of one. Everybody may
# write to /tmp: in a folder of its own nobody can put a link in the draft's place.
write_result <- function(path, what) {
  own <- tempfile(".draft-", dirname(path))
  if (!dir.create(own, showWarnings = FALSE, mode = "0700")) stop("cannot write to ", dirname(path))
  on.exit(unlink(own, recursive = TRUE))
  draft <- file.path(own, basename(path))
  if (is.function(what)) what(draft) else writeBin(as_bytes(what), draft)
  if (!file.rename(draft, path)) stop("cannot write ", path)
}

# Run work(text) for message after message, a line each (docs/keep-alive.md). The result is what it prints with cat or
# print, and the value that it returns. Without --keep-alive there is one message, all of STDIN.
keep_alive <- function(work) {
  if (!is_kept_alive()) return(invisible(print_result(withVisible(work(read_text())))))
  if (Sys.getenv("CLUSTER_FRAMING", "lines") != "lines") stop("actions in R take lines: leave --framing out")
  results <- file("/dev/fd/1", "wb", raw = TRUE)
  done <- function(text) {
    bytes <- result_of(work, text)
    writeBin(bytes, results)
    flush(results)
    paste("ok", length(bytes))
  }
  verdicts <- file("/dev/fd/3", "w", raw = TRUE)
  answer <- function(verdict) {
    cat(substr(gsub("[[:space:]]+", " ", verdict), 1, 1000), "\n", sep = "", file = verdicts)
    flush(verdicts)
  }
  messages <- file("stdin", "r")
  answer("ready 1")
  while (length(text <- readLines(messages, n = 1)) > 0) {
    answer(tryCatch(done(text),
                    bad_input = function(e) paste("reject", conditionMessage(e)),
                    error = function(e) paste("retry error:", conditionMessage(e))))
  }
}

is_kept_alive <- function() nzchar(Sys.getenv("CLUSTER_KEEP_ALIVE"))

as_bytes <- function(value) {
  if (is.raw(value)) value else if (length(value)) charToRaw(paste0(value, "\n", collapse = "")) else raw()
}

print_result <- function(returned) {
  output <- pipe("cat", "wb")   # R's own stdout takes no bytes
  on.exit(close(output))
  if (returned$visible) writeBin(as_bytes(returned$value), output)
}

result_of <- function(work, text) {
  printed <- rawConnection(raw(), "w")
  sink(printed)
  on.exit({ sink(); close(printed) })
  returned <- withVisible(work(text))   # print(x) returns x, too, but not visibly
  c(rawConnectionValue(printed), if (returned$visible) as_bytes(returned$value))
}
