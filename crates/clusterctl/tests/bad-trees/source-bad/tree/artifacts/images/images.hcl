locals {
  source = "magic"
}
