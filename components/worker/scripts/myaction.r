#!/usr/bin/env Rscript
# The action to begin with: one message is on STDIN, and what it leaves is a file under /tmp. Copy it and change `work`.
#
# Exit code 0 says done; 65 says that no further try can help; anything else, such as the 1 of an R error, asks for
# another try. What else is known of the message is in the environment, see AMQP_MESSAGE_ID below.

# From the message's bytes to the result's: this one gives back what it got.
work <- function(body) body

# STDIN to its end, as bytes: a message need not be text. rawToChar(body) makes a string of it.
read_body <- function() {
  input <- file("stdin", "rb")
  on.exit(close(input))
  body <- raw()
  while (length(chunk <- readBin(input, "raw", 2^20)) > 0) body <- c(body, chunk)
  body
}

# A message can be worked on twice; a rename leaves either the old file or the new one, never half of one. Everybody may
# write to /tmp: in a folder of its own nobody can put a link in the draft's place.
write_whole <- function(bytes, path) {
  own <- tempfile(".myaction-", dirname(path))
  if (!dir.create(own, mode = "0700")) stop("cannot write to ", dirname(path))
  on.exit(unlink(own, recursive = TRUE))
  draft <- file.path(own, "draft")
  writeBin(bytes, draft)
  if (!file.rename(draft, path)) stop("cannot write ", path)
}

body <- read_body()
id <- gsub("[^A-Za-z0-9_-]", "_", Sys.getenv("AMQP_MESSAGE_ID"))
path <- if (nzchar(id)) file.path("/tmp", paste0("myaction-", id, ".txt")) else tempfile("myaction-", "/tmp", ".txt")
write_whole(work(body), path)
cat("myaction.r:", length(body), "bytes to", path, "\n")
