// How jobq-broker ends. Scripts and supervisors rest on these numbers: DO NOT RENUMBER. docs/configuration.md lists them
// with what to do about each.
#pragma once

namespace jobq::exit_code {

inline constexpr int kOk = 0;              // stopped by SIGTERM or SIGINT
inline constexpr int kUsage = 64;          // wrong flags
inline constexpr int kCannotListen = 69;   // a port in use, not permitted, or no such address
inline constexpr int kInternal = 70;       // too few descriptors, no memory, or a fault of ours
inline constexpr int kInsecure = 77;       // an endpoint that others can reach, without --insecure
inline constexpr int kBadConfig = 78;      // the configuration file
inline constexpr int kStoreInUse = 80;     // another broker has the data directory
inline constexpr int kStoreDamaged = 81;   // at the start or while serving
inline constexpr int kStoreNewer = 82;     // made by a newer jobq
inline constexpr int kStoreReadOnly = 83;  // directory or file system cannot be written
inline constexpr int kNetworkFs = 84;      // locks cannot be relied on there
inline constexpr int kNoSpace = 85;        // the disk is full
inline constexpr int kNotAStore = 86;      // the directory holds something else
inline constexpr int kStoreIo = 87;        // any other failure while opening
inline constexpr int kSyncFailed =
    88;  // a commit failed while serving: nothing unconfirmed was promised; restart

}  // namespace jobq::exit_code
