// Log files read for a client: their last lines, then what is added, as fast as the connection takes it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "node/connection.h"
#include "node/log_file.h"

namespace kiln::node {

struct LogSource {
  std::string name;  // MODULE.SERVICE, MODULE.setup
  LogFile* file;     // lives as long as the agent
};

// Takes the connection over. With several sources each line is prefixed by its source's name.
void serve_logs(Loop& loop, std::shared_ptr<Connection> connection, std::vector<LogSource> sources, bool prefix, std::size_t lines,
                bool follow);

// Where the last `lines` lines of the open file begin, looking back at most `max_bytes`.
std::size_t start_of_last_lines(int fd, std::size_t lines, std::size_t max_bytes);

}  // namespace kiln::node
