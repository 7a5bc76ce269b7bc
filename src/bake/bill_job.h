// The name of the cell job that reads layers; bill.cc and bill_scan.cc alone use this.
#pragma once

namespace kiln::bake {
extern const char* const kBillJob;  // {"folders": [PATH…]} → {"bills": [LayerBill…]}
}  // namespace kiln::bake
