// Starting instances, and what EC2 can tell of one that is in trouble.
#pragma once

#include <string>
#include <vector>

#include "provider/aws/placement.h"
#include "provider/aws/record.h"
#include "provider/aws/run_request.h"

namespace kiln::provider::on_aws {

// One request for all of a batch (one a zone where they are spread), `known` being what its nodes are told of others; where there is no
// room the next zone, type and market is tried (run_request.h). They are added to `made` as they come: ApiError when EC2 refuses may leave
// some.
// `word`: with the same one the same nodes are asked for once only, whatever process asks, and those that there are come back.
void run_instances(const kiln::aws::Ec2& ec2, const Record& record, const CreateRequest& request, const Place& place, const Batch& batch,
                   const std::vector<Node>& known, std::vector<Machine>& made, const std::string& word);

// Numbers in a row that no machine of the record has yet: each is one request. Of several masters each is one of its own, so that it can be
// told of those before it.
std::vector<Batch> missing_nodes(const Record& record, const std::string& role);

// What nodes of the role are told of others: the masters. One master need not be told of itself; of several each knows the names of all,
// and the addresses of those that there are. The others report to it, by which it learns theirs.
std::vector<Node> masters_to_tell(const Record& record, const std::string& role);

// Why an instance ended or does not answer: its state, EC2's reason, the last lines of its console; lines for people. Never throws, but for
// Interrupted.
std::string trouble_of(const kiln::aws::Ec2& ec2, const Machine& instance);

}  // namespace kiln::provider::on_aws
