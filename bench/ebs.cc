// For bench/ami.py: an endpoint that takes a snapshot's blocks as fast as they come, and the floor under any upload to it.
//
//   ebs serve                  listens on a free port of 127.0.0.1, prints it, and answers the few calls of an upload until it is killed
//   ebs floor PORT FILE JOBS   SHA-256 of each block that is not zero, and a plain HTTP PUT of it; prints blocks and seconds
//
// The endpoint keeps nothing and checks nothing: what is measured is the client.
#include <curl/curl.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kBlockBytes = 512 * 1024;
const std::string kSnapshot = "snap-0123456789abcdef0", kAmi = "ami-0123456789abcdef0";

std::string xml(const std::string& operation, const std::string& inner) {
  return "<" + operation + "Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>1</requestId>" + inner + "</" + operation + "Response>";
}

std::string answer_ec2(const std::string& form) {
  const auto asks = [&](const char* text) { return form.find(text) != std::string::npos; };
  if (asks("Action=RegisterImage")) return xml("RegisterImage", "<imageId>" + kAmi + "</imageId>");
  if (asks("Action=DescribeImages")) {
    const bool known = asks("image-id");
    return xml("DescribeImages", known ? "<imagesSet><item><imageId>" + kAmi + "</imageId><imageState>available</imageState></item></imagesSet>" : "<imagesSet/>");
  }
  const bool known = asks("snapshot-id");
  return xml("DescribeSnapshots", known ? "<snapshotSet><item><snapshotId>" + kSnapshot + "</snapshotId><status>completed</status></item></snapshotSet>" : "<snapshotSet/>");
}

std::string answer(const std::string& head, const std::string& body) {
  if (head.starts_with("PUT ")) return "{}";
  if (head.starts_with("POST /snapshots/completion/")) return R"({"Status":"completed"})";
  if (head.starts_with("POST /snapshots")) return R"({"SnapshotId":")" + kSnapshot + R"(","Status":"pending","BlockSize":524288})";
  return answer_ec2(body);
}

void converse(int connection) {
  const int on = 1;
  ::setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  std::string buffer;
  std::vector<char> chunk(kBlockBytes);
  for (;;) {
    std::size_t end;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
      const ssize_t got = ::recv(connection, chunk.data(), chunk.size(), 0);
      if (got <= 0) return void(::close(connection));
      buffer.append(chunk.data(), static_cast<std::size_t>(got));
    }
    const std::string head = buffer.substr(0, end);
    std::string body = buffer.substr(end + 4);
    const char* length = ::strcasestr(head.c_str(), "content-length:");
    const std::size_t wanted = length == nullptr ? 0 : std::strtoul(length + 15, nullptr, 10);
    const bool keep = !head.starts_with("PUT ");
    std::size_t have = body.size();
    while (have < wanted) {
      const ssize_t got = ::recv(connection, chunk.data(), std::min(chunk.size(), wanted - have), 0);
      if (got <= 0) return void(::close(connection));
      if (keep) body.append(chunk.data(), static_cast<std::size_t>(got));
      have += static_cast<std::size_t>(got);
    }
    buffer.clear();
    const std::string text = answer(head, body);
    const std::string whole = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(text.size()) + "\r\n\r\n" + text;
    if (::send(connection, whole.data(), whole.size(), MSG_NOSIGNAL) < 0) return void(::close(connection));
  }
}

int serve() {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener, 256) != 0) return 1;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  for (;;) std::thread(converse, ::accept(listener, nullptr, nullptr)).detach();
}

std::size_t drop(char*, std::size_t size, std::size_t count, void*) { return size * count; }

void send_blocks(const std::string& url, int disk, std::size_t blocks, std::atomic<std::size_t>& next, std::atomic<std::size_t>& sent) {
  std::vector<char> block(kBlockBytes);
  CURL* easy = curl_easy_init();
  curl_slist* headers = curl_slist_append(nullptr, "Expect:");
  unsigned char digest[EVP_MAX_MD_SIZE];
  for (std::size_t index = next++; index < blocks; index = next++) {
    if (::pread(disk, block.data(), kBlockBytes, static_cast<off_t>(index * kBlockBytes)) != static_cast<ssize_t>(kBlockBytes)) std::exit(1);
    if (block[0] == 0 && std::memcmp(block.data(), block.data() + 1, kBlockBytes - 1) == 0) continue;
    EVP_Digest(block.data(), kBlockBytes, digest, nullptr, EVP_sha256(), nullptr);
    curl_easy_setopt(easy, CURLOPT_URL, (url + std::to_string(index)).c_str());
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PUT");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(kBlockBytes));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, block.data());
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop);
    if (const CURLcode code = curl_easy_perform(easy); code != CURLE_OK) {
      std::fprintf(stderr, "%s\n", curl_easy_strerror(code));
      std::exit(1);
    }
    ++sent;
  }
  curl_slist_free_all(headers);
  curl_easy_cleanup(easy);
}

int floor_of(const char* port, const char* file, std::size_t jobs) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  const int disk = ::open(file, O_RDONLY);
  struct stat status {};
  if (disk < 0 || ::fstat(disk, &status) != 0) return 1;
  const auto started = std::chrono::steady_clock::now();
  std::atomic<std::size_t> next = 0, sent = 0;
  {
    const std::string url = std::string("http://127.0.0.1:") + port + "/snapshots/x/blocks/";
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < jobs; ++i)
      threads.emplace_back([&] { send_blocks(url, disk, static_cast<std::size_t>(status.st_size) / kBlockBytes, next, sent); });
  }
  std::printf("%zu %.4f\n", sent.load(), std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count());
  return 0;
}

}  // namespace

int main(int count, char** words) {
  if (count == 2 && std::string(words[1]) == "serve") return serve();
  if (count == 5 && std::string(words[1]) == "floor") return floor_of(words[2], words[3], std::strtoul(words[4], nullptr, 10));
  std::fprintf(stderr, "ebs serve | ebs floor PORT FILE JOBS\n");
  return 2;
}
