#include "libjobq/protocol/codec.hpp"
